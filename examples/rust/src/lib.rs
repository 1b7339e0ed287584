//! libcodec from Rust: models and streams here, `.nac` files in [`files`], enhancers in [`enhancer`].
//!
//! Samples are those of one channel or, of a model that codes two channels together
//! (`info.channels` is 2), of pairs: left and right in turn.
//!
//! Every value that C owns is freed when it is dropped, and the compiler sees what must outlive
//! what. A call that fails returns an [`Error`] with C's status and its reason.

pub mod enhancer;
pub mod ffi;
pub mod files;

use std::ffi::{c_char, CStr, CString};
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::{error, fmt, result};

pub use ffi::codec_info as Info;

/// A call that failed.
#[derive(Debug)]
pub struct Error {
    /// The `codec_status` of codec.h.
    pub status: ffi::codec_status,
    /// What is wrong, in one line.
    pub reason: String,
}

/// The result of a call of libcodec.
pub type Result<T> = result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.reason)
    }
}

impl error::Error for Error {}

impl Error {
    fn new(status: ffi::codec_status, reason: &str) -> Self {
        let reason = match reason {
            // SAFETY: the text of any status is a constant.
            "" => unsafe { text(ffi::codec_status_text(status)) },
            said => said.to_owned(),
        };
        Error { status, reason }
    }
}

/// Turns a status into a result.
fn check(status: ffi::codec_status) -> Result<()> {
    if status == 0 {
        return Ok(());
    }
    Err(Error::new(status, ""))
}

/// The text that `call` writes into the memory it is given, if it fails.
fn check_message(call: impl FnOnce(*mut c_char, usize) -> ffi::codec_status) -> Result<()> {
    let mut message = [0u8; 256];
    match call(message.as_mut_ptr().cast(), message.len()) {
        0 => Ok(()),
        status => {
            let said = CStr::from_bytes_until_nul(&message).unwrap_or_default();
            Err(Error::new(status, &said.to_string_lossy()))
        }
    }
}

/// # Safety
/// `from` is a C string.
unsafe fn text(from: *const c_char) -> String {
    unsafe { CStr::from_ptr(from) }.to_string_lossy().into_owned()
}

fn c_text(from: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(from)
        .map_err(|_| Error::new(ffi::CODEC_ERROR_ARGUMENT, "a text with a zero byte inside"))
}

/// The version of the library that runs.
pub fn version() -> String {
    // SAFETY: the version is a constant.
    unsafe { text(ffi::codec_version()) }
}

/// Codes of a stretch of frames, `codebooks` of each: `[codebooks][frames]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codes {
    codebooks: usize,
    frames: usize,
    values: Vec<u16>,
}

impl Codes {
    /// Takes `values [codebooks][frames]`.
    ///
    /// # Panics
    /// If their number is not `codebooks * frames`.
    pub fn new(codebooks: usize, frames: usize, values: Vec<u16>) -> Self {
        assert_eq!(Some(values.len()), codebooks.checked_mul(frames), "codes of another shape");
        Codes { codebooks, frames, values }
    }

    fn empty(codebooks: usize, frames: usize) -> Self {
        Codes { codebooks, frames, values: vec![0; codebooks * frames] }
    }

    /// Codebooks of each frame.
    pub fn codebooks(&self) -> usize {
        self.codebooks
    }

    /// Frames of each codebook.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// All codes, one codebook after another.
    pub fn values(&self) -> &[u16] {
        &self.values
    }
}

/// Weights, which threads may share.
pub struct Model {
    handle: NonNull<ffi::codec_model>,
    info: Info,
}

// SAFETY: "Threads may share a codec_model and a codec_enhancer, which never change."
unsafe impl Send for Model {}
unsafe impl Sync for Model {}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: the handle is of codec_model_open, and streams and coders borrow the model.
        unsafe { ffi::codec_model_free(self.handle.as_ptr()) }
    }
}

impl Model {
    /// Reads weights, for the widest instruction set of this processor.
    pub fn open(path: &Path) -> Result<Self> {
        // SAFETY: both calls take no pointers.
        if unsafe { ffi::codec_abi_version() } != ffi::CODEC_ABI_VERSION {
            return Err(Error::new(ffi::CODEC_ERROR_UNSUPPORTED, "libcodec has another ABI"));
        }
        let name = c_text(path.as_os_str().as_bytes())?;
        let mut handle = ptr::null_mut();
        check_message(|message, size| {
            // SAFETY: all pointers are valid during the call; NULL chooses the instruction set.
            unsafe { ffi::codec_model_open(name.as_ptr(), ptr::null(), &mut handle, message, size) }
        })?;
        let handle = NonNull::new(handle).expect("a model that was opened");
        let mut model = Model { handle, info: Info::default() };
        // SAFETY: the info has the size that is said.
        let size = size_of::<Info>();
        check(unsafe { ffi::codec_model_info(handle.as_ptr(), &mut model.info, size) })?;
        Ok(model)
    }

    /// The dimensions of the model.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The instruction set that its kernels use.
    pub fn instruction_set(&self) -> String {
        // SAFETY: the name lives as long as the model.
        unsafe { text(ffi::codec_model_instruction_set(self.handle.as_ptr())) }
    }

    /// Frames of `n` samples of a channel.
    pub fn frames(&self, n: usize) -> usize {
        // SAFETY: the model is valid.
        unsafe { ffi::codec_frames(self.handle.as_ptr(), n) }
    }

    /// Encodes samples, full scale 1.
    pub fn encode(&self, samples: &[f32], codebooks: usize) -> Result<Codes> {
        self.check_codebooks(codebooks)?;
        let n = per_channel(samples, self.channels())?;
        let mut codes = Codes::empty(codebooks, self.frames(n));
        let mut frames = 0;
        // SAFETY: there are n samples of each channel, and there is room for `codebooks` rows of
        // `codes.frames` codes.
        check(unsafe {
            ffi::codec_encode(
                self.handle.as_ptr(),
                samples.as_ptr(),
                n,
                codebooks,
                codes.values.as_mut_ptr(),
                codes.frames,
                &mut frames,
            )
        })?;
        assert_eq!(frames, codes.frames);
        Ok(codes)
    }

    /// Decodes codes to `frames * hop_length` samples of each channel.
    pub fn decode(&self, codes: &Codes) -> Result<Vec<f32>> {
        let capacity = codes.frames * self.info.hop_length as usize;
        let mut samples = vec![0.0; self.channels() * capacity];
        let mut n = 0;
        // SAFETY: the codes have the shape that is said, and the samples that room.
        check(unsafe {
            ffi::codec_decode(
                self.handle.as_ptr(),
                codes.values.as_ptr(),
                codes.frames,
                codes.codebooks,
                codes.frames,
                samples.as_mut_ptr(),
                capacity,
                &mut n,
            )
        })?;
        assert_eq!(n, capacity);
        Ok(samples)
    }

    fn channels(&self) -> usize {
        self.info.channels as usize
    }

    /// Fails early, so that no memory is asked for a number of codebooks that does not exist.
    fn check_codebooks(&self, codebooks: usize) -> Result<()> {
        match codebooks {
            0 => check(ffi::CODEC_ERROR_ARGUMENT),
            n if n > self.info.codebooks as usize => check(ffi::CODEC_ERROR_ARGUMENT),
            _ => Ok(()),
        }
    }
}

/// The number of samples of each channel.
fn per_channel(samples: &[f32], channels: usize) -> Result<usize> {
    match samples.len() % channels {
        0 => Ok(samples.len() / channels),
        _ => Err(Error::new(ffi::CODEC_ERROR_ARGUMENT, "half a pair of samples")),
    }
}

/// Encodes audio while it arrives: the codes come out as soon as they are certain.
pub struct Encoder<'m> {
    handle: NonNull<ffi::codec_encoder>,
    codebooks: usize,
    channels: usize,
    model: PhantomData<&'m Model>,
}

// SAFETY: a stream may move to another thread; `push` takes it mutably, so one call is made at a time.
unsafe impl Send for Encoder<'_> {}

impl Drop for Encoder<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is of codec_encoder_new.
        unsafe { ffi::codec_encoder_free(self.handle.as_ptr()) }
    }
}

impl<'m> Encoder<'m> {
    /// Begins a stream of so many codebooks.
    pub fn new(model: &'m Model, codebooks: usize) -> Result<Self> {
        let mut handle = ptr::null_mut();
        // SAFETY: the model outlives the stream by its lifetime.
        check(unsafe { ffi::codec_encoder_new(model.handle.as_ptr(), codebooks, &mut handle) })?;
        let handle = NonNull::new(handle).expect("an encoder that was made");
        Ok(Encoder { handle, codebooks, channels: model.channels(), model: PhantomData })
    }

    /// Searches the codes with 1 to 64 paths from the next frame on. More sound better at the same
    /// bitrate and take longer; 1 is the default.
    pub fn set_beam(&mut self, paths: usize) -> Result<()> {
        // SAFETY: the encoder is valid.
        check(unsafe { ffi::codec_encoder_set_beam(self.handle.as_ptr(), paths) })
    }

    /// Improves the codes by 0 to 1000 steps through the decoder; before the first sample. They come
    /// closer to the audio at the same bitrate, come out by windows of 100 frames, and take far longer;
    /// 0 is the default.
    pub fn set_refine(&mut self, steps: usize) -> Result<()> {
        let encoder = self.handle.as_ptr();
        // SAFETY: the encoder is valid, and the message has the size that is said.
        check_message(|message, size| unsafe {
            ffi::codec_encoder_set_refine(encoder, steps, message, size)
        })
    }

    /// Takes samples, any number.
    pub fn push(&mut self, samples: &[f32]) -> Result<Codes> {
        let encoder = self.handle.as_ptr();
        let n = per_channel(samples, self.channels)?;
        // SAFETY: the encoder is valid, there are n samples of each channel, and there is room for
        // what it says comes out.
        let ready = unsafe { ffi::codec_encoder_ready(encoder, n) };
        self.codes(ready, |codes, stride, frames| unsafe {
            ffi::codec_encoder_push(encoder, samples.as_ptr(), n, codes, stride, frames)
        })
    }

    /// Ends the stream; gives the codes that are left.
    pub fn flush(&mut self) -> Result<Codes> {
        let encoder = self.handle.as_ptr();
        // SAFETY: as in `push`.
        let left = unsafe { ffi::codec_encoder_left(encoder) };
        self.codes(left, |codes, stride, frames| unsafe {
            ffi::codec_encoder_flush(encoder, codes, stride, frames)
        })
    }

    fn codes(
        &self,
        room: usize,
        call: impl FnOnce(*mut u16, usize, &mut usize) -> ffi::codec_status,
    ) -> Result<Codes> {
        let (mut codes, mut frames) = (Codes::empty(self.codebooks, room), 0);
        check(call(codes.values.as_mut_ptr(), room, &mut frames))?;
        assert_eq!(frames, room);
        Ok(codes)
    }
}

/// Decodes codes while they arrive.
pub struct Decoder<'m> {
    handle: NonNull<ffi::codec_decoder>,
    channels: usize,
    model: PhantomData<&'m Model>,
}

// SAFETY: as for Encoder.
unsafe impl Send for Decoder<'_> {}

impl Drop for Decoder<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is of codec_decoder_new.
        unsafe { ffi::codec_decoder_free(self.handle.as_ptr()) }
    }
}

impl<'m> Decoder<'m> {
    /// Begins a stream.
    pub fn new(model: &'m Model) -> Result<Self> {
        let mut handle = ptr::null_mut();
        // SAFETY: the model outlives the stream by its lifetime.
        check(unsafe { ffi::codec_decoder_new(model.handle.as_ptr(), &mut handle) })?;
        let handle = NonNull::new(handle).expect("a decoder that was made");
        Ok(Decoder { handle, channels: model.channels(), model: PhantomData })
    }

    /// Lowers the noise between the harmonics of voices, or does not, which is the default; before the
    /// first frame. The samples come 20 to 25 ms later then.
    pub fn set_postfilter(&mut self, on: bool) -> Result<()> {
        let decoder = self.handle.as_ptr();
        // SAFETY: the decoder is valid, and the message has the size that is said.
        check_message(|message, size| unsafe {
            ffi::codec_decoder_set_postfilter(decoder, on.into(), message, size)
        })
    }

    /// Samples of each channel before the end of the last frame that still wait for what follows, at
    /// most.
    pub fn latency(&self) -> usize {
        // SAFETY: the decoder is valid.
        unsafe { ffi::codec_decoder_latency(self.handle.as_ptr()) }
    }

    /// Takes frames, any number, whose codebooks may change from call to call.
    pub fn push(&mut self, codes: &Codes) -> Result<Vec<f32>> {
        let decoder = self.handle.as_ptr();
        let (books, frames) = (codes.codebooks, codes.frames);
        // SAFETY: the codes have the shape that is said; there is room for what comes out.
        let ready = unsafe { ffi::codec_decoder_ready(decoder, frames) };
        self.samples(ready, |to, room, n| unsafe {
            let given = codes.values.as_ptr();
            ffi::codec_decoder_push(decoder, given, frames, books, frames, to, room, n)
        })
    }

    /// Ends the stream; gives the samples that are left.
    pub fn flush(&mut self) -> Result<Vec<f32>> {
        let decoder = self.handle.as_ptr();
        // SAFETY: as in `push`.
        let left = unsafe { ffi::codec_decoder_left(decoder) };
        self.samples(left, |to, room, n| unsafe { ffi::codec_decoder_flush(decoder, to, room, n) })
    }

    fn samples(
        &self,
        room: usize,
        call: impl FnOnce(*mut f32, usize, &mut usize) -> ffi::codec_status,
    ) -> Result<Vec<f32>> {
        let (mut samples, mut n) = (vec![0.0; self.channels * room], 0);
        check(call(samples.as_mut_ptr(), room, &mut n))?;
        assert_eq!(n, room);
        Ok(samples)
    }
}
