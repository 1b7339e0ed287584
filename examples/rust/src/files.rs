//! `.nac` files: coders, readers and writers of anything that implements [`Read`] and [`Write`].

use std::ffi::{c_int, c_void};
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;

pub use crate::ffi::codec_file_info as FileInfo;
use crate::{c_text, check, check_message, ffi, text, Codes, Error, Model, Result};

/// How codes are packed without loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Bits, as they are.
    Raw,
    /// Tables of frequencies.
    Fast,
    /// A small network.
    Best,
}

impl Effort {
    /// The number that files have for it.
    pub fn number(self) -> u32 {
        match self {
            Effort::Raw => ffi::CODEC_CODER_RAW,
            Effort::Fast => ffi::CODEC_CODER_FAST,
            Effort::Best => ffi::CODEC_CODER_BEST,
        }
    }

    /// The effort of a number; of one that this crate does not know, an error.
    pub fn from_number(number: u32) -> Result<Self> {
        [Effort::Raw, Effort::Fast, Effort::Best]
            .into_iter()
            .find(|effort| effort.number() == number)
            .ok_or_else(|| Error::new(ffi::CODEC_ERROR_UNSUPPORTED, "an unknown coder"))
    }
}

/// Packs the codes of a model, and unpacks them. Threads may share it.
pub struct Coder<'m> {
    handle: NonNull<ffi::codec_coder>,
    model: PhantomData<&'m Model>,
}

// SAFETY: "Threads may share a coder, which never changes."
unsafe impl Send for Coder<'_> {}
unsafe impl Sync for Coder<'_> {}

impl Drop for Coder<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is of codec_coder_open, and readers and writers borrow the coder.
        unsafe { ffi::codec_coder_free(self.handle.as_ptr()) }
    }
}

impl<'m> Coder<'m> {
    /// Makes a coder from the content of the file beside the weights, which raw does not need.
    pub fn open(effort: Effort, model: &'m Model, data: &[u8]) -> Result<Self> {
        let (start, size) = match effort {
            Effort::Raw => (ptr::null(), 0),
            _ => (data.as_ptr().cast(), data.len()),
        };
        let mut handle = ptr::null_mut();
        let number = effort.number();
        check_message(|message, room| {
            let model = model.handle.as_ptr();
            // SAFETY: the data are read during the call alone; the model outlives the coder.
            unsafe { ffi::codec_coder_open(number, model, start, size, &mut handle, message, room) }
        })?;
        let handle = NonNull::new(handle).expect("a coder that was opened");
        Ok(Coder { handle, model: PhantomData })
    }
}

/// Describes the file that `codec compress` writes for audio at the model's rate.
pub fn describe(model: &Model, channels: u32, codebooks: u32) -> Result<FileInfo> {
    let mut info = FileInfo::default();
    let handle = model.handle.as_ptr();
    // SAFETY: both pointers are valid.
    check(unsafe { ffi::codec_file_describe(handle, channels, codebooks, 0, &mut info) })?;
    Ok(info)
}

/// Streams of codes of a file.
pub fn streams(info: &FileInfo) -> usize {
    // SAFETY: the info is read alone.
    unsafe { ffi::codec_file_streams(info) as usize }
}

/// What C's callbacks use: the reader or writer of Rust, and what went wrong with it last.
struct User<T> {
    of: T,
    error: Option<io::Error>,
}

/// A `User` that C has the address of; it stays where it is, and only C's calls borrow it.
struct Shared<T>(NonNull<User<T>>);

impl<T> Shared<T> {
    fn new(of: T) -> Self {
        let user = Box::into_raw(Box::new(User { of, error: None }));
        Shared(NonNull::new(user).expect("a box"))
    }

    fn pointer(&self) -> *mut c_void {
        self.0.as_ptr().cast()
    }

    /// The result of a call that may have failed in a callback.
    fn check(&self, status: ffi::codec_status) -> Result<()> {
        check(status).map_err(|error| {
            // SAFETY: no call of C is in progress, so nothing else borrows the user.
            match unsafe { &mut *self.0.as_ptr() }.error.take() {
                Some(said) if status == ffi::CODEC_ERROR_IO => {
                    Error::new(status, &said.to_string())
                }
                _ => error,
            }
        })
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer is of Box::into_raw; what C made with it is freed before.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

unsafe extern "C" fn read_from<R: Read>(user: *mut c_void, bytes: *mut c_void, n: usize) -> i64 {
    // SAFETY: `user` is what Shared::pointer gave, of the same type. C gives room for n bytes, which
    // may not be initialised; zeros make them so.
    let (user, room) = unsafe {
        ptr::write_bytes(bytes.cast::<u8>(), 0, n);
        (&mut *user.cast::<User<R>>(), slice::from_raw_parts_mut(bytes.cast::<u8>(), n))
    };
    loop {
        match user.of.read(room) {
            Ok(got) => return got as i64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                user.error = Some(error);
                return -1;
            }
        }
    }
}

unsafe extern "C" fn write_to<W: Write>(
    user: *mut c_void,
    bytes: *const c_void,
    n: usize,
) -> c_int {
    if n == 0 {
        return 0;
    }
    // SAFETY: as in `read_from`; C gives n bytes.
    let (user, given) =
        unsafe { (&mut *user.cast::<User<W>>(), slice::from_raw_parts(bytes.cast::<u8>(), n)) };
    match user.of.write_all(given) {
        Ok(()) => 0,
        Err(error) => {
            user.error = Some(error);
            1
        }
    }
}

/// Reads a file front to back.
pub struct Reader<'c, R: Read> {
    handle: NonNull<ffi::codec_reader>,
    source: Shared<R>,
    coder: PhantomData<&'c Coder<'c>>,
}

impl<R: Read> Drop for Reader<'_, R> {
    fn drop(&mut self) {
        // SAFETY: the handle is of codec_reader_open; the source is dropped after it.
        unsafe { ffi::codec_reader_free(self.handle.as_ptr()) }
    }
}

impl<'c, R: Read> Reader<'c, R> {
    /// Reads the header and the tags.
    pub fn open(source: R) -> Result<Self> {
        let source = Shared::new(source);
        let mut handle = ptr::null_mut();
        let user = source.pointer();
        // SAFETY: the callback takes the type that `user` points to, which outlives the reader.
        let status = unsafe { ffi::codec_reader_open(read_from::<R>, user, &mut handle) };
        source.check(status)?;
        let handle = NonNull::new(handle).expect("a reader that was opened");
        Ok(Reader { handle, source, coder: PhantomData })
    }

    /// What the header says; the length may be unknown until all has been read.
    pub fn info(&self) -> FileInfo {
        // SAFETY: the info lives as long as the reader.
        unsafe { *ffi::codec_reader_info(self.handle.as_ptr()) }
    }

    /// Samples of each channel, once they are known.
    pub fn n_samples(&self) -> Option<u64> {
        Some(self.info().n_samples).filter(|n| *n != ffi::CODEC_UNKNOWN_LENGTH)
    }

    /// Keys and values.
    pub fn tags(&self) -> Result<Vec<(String, String)>> {
        let reader = self.handle.as_ptr();
        // SAFETY: the reader is valid, and its tags live as long as it.
        (0..unsafe { ffi::codec_reader_tags(reader) })
            .map(|i| {
                let mut tag = ffi::codec_tag { key: ptr::null(), value: ptr::null() };
                check(unsafe { ffi::codec_reader_tag(reader, i, &mut tag) })?;
                Ok(unsafe { (text(tag.key), text(tag.value)) })
            })
            .collect()
    }

    /// Chooses the coder, before the first chunk.
    pub fn decode_with(&mut self, coder: &'c Coder<'_>) -> Result<()> {
        let (reader, coder) = (self.handle.as_ptr(), coder.handle.as_ptr());
        // SAFETY: the coder outlives the reader by its lifetime.
        self.source.check(unsafe { ffi::codec_reader_use(reader, coder) })
    }

    /// The codes of the next chunk, those of each stream; None at the end.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<Codes>>> {
        let info = self.info();
        let most = streams(&info)
            .checked_mul(info.codebooks as usize)
            .and_then(|codes| codes.checked_mul(info.chunk_frames as usize));
        let mut values = vec![0; most.expect("the limits of the format keep it below 2^64")];
        let (mut books, mut frames) = (0, 0);
        // SAFETY: there is the room that is said.
        self.source.check(unsafe {
            let (to, room) = (values.as_mut_ptr(), values.len());
            ffi::codec_reader_next(self.handle.as_ptr(), to, room, &mut books, &mut frames)
        })?;
        if frames == 0 {
            return Ok(None);
        }
        let each = values.chunks_exact(books * frames).take(streams(&info));
        Ok(Some(each.map(|codes| Codes::new(books, frames, codes.to_vec())).collect()))
    }
}

/// Writes a file front to back; [`Writer::finish`] ends it.
pub struct Writer<'c, W: Write> {
    handle: NonNull<ffi::codec_writer>,
    target: Shared<W>,
    info: FileInfo,
    coder: PhantomData<&'c Coder<'c>>,
}

impl<W: Write> Drop for Writer<'_, W> {
    fn drop(&mut self) {
        // SAFETY: the handle is of codec_writer_open; the target is dropped after it.
        unsafe { ffi::codec_writer_free(self.handle.as_ptr()) }
    }
}

impl<'c, W: Write> Writer<'c, W> {
    /// Writes the header and the tags.
    pub fn open(
        info: FileInfo,
        coder: &'c Coder<'_>,
        tags: &[(&str, &str)],
        target: W,
    ) -> Result<Self> {
        let held = tags
            .iter()
            .map(|(key, value)| Ok((c_text(*key)?, c_text(*value)?)))
            .collect::<Result<Vec<_>>>()?;
        let given: Vec<_> = held
            .iter()
            .map(|(key, value)| ffi::codec_tag { key: key.as_ptr(), value: value.as_ptr() })
            .collect();
        let target = Shared::new(target);
        let mut handle = ptr::null_mut();
        let (coder, user) = (coder.handle.as_ptr(), target.pointer());
        // SAFETY: tags are read during the call; coder and target outlive the writer.
        target.check(unsafe {
            let (tags, n) = (given.as_ptr(), given.len());
            ffi::codec_writer_open(&info, coder, tags, n, write_to::<W>, user, &mut handle)
        })?;
        let handle = NonNull::new(handle).expect("a writer that was opened");
        Ok(Writer { handle, target, info, coder: PhantomData })
    }

    /// Appends frames, any number: the codes of each stream.
    ///
    /// # Panics
    /// If there are not as many codes as the file has streams and codebooks, or frames differ.
    pub fn write(&mut self, codes: &[Codes]) -> Result<()> {
        assert_eq!(codes.len(), streams(&self.info), "codes of another number of streams");
        let frames = codes[0].frames;
        let books = self.info.codebooks as usize;
        assert!(codes.iter().all(|each| (each.codebooks, each.frames) == (books, frames)));
        let values: Vec<u16> = codes.iter().flat_map(|each| &each.values).copied().collect();
        // SAFETY: `values` are [streams * codebooks][frames].
        self.target.check(unsafe {
            ffi::codec_writer_write(self.handle.as_ptr(), values.as_ptr(), frames, frames)
        })
    }

    /// Writes what is left and the index, and flushes; returns the header with the length, which
    /// may replace the first 64 bytes.
    pub fn finish(&mut self, n_samples: u64) -> Result<[u8; ffi::CODEC_HEADER_BYTES]> {
        let mut header = [0; ffi::CODEC_HEADER_BYTES];
        // SAFETY: the header has 64 bytes.
        self.target.check(unsafe {
            ffi::codec_writer_finish(self.handle.as_ptr(), n_samples, header.as_mut_ptr())
        })?;
        // SAFETY: no call of C is in progress, so nothing else borrows the target.
        let target = unsafe { &mut *self.target.0.as_ptr() };
        target.of.flush().map_err(|error| Error::new(ffi::CODEC_ERROR_IO, &error.to_string()))?;
        Ok(header)
    }
}
