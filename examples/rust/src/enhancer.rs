//! A second network, which makes decoded audio sound closer to the original.

use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};

use crate::{c_text, check, check_message, ffi, Model, Result};

/// Its weights, which threads may share.
pub struct Enhancer {
    handle: NonNull<ffi::codec_enhancer>,
}

// SAFETY: "Threads may share a codec_model and a codec_enhancer, which never change."
unsafe impl Send for Enhancer {}
unsafe impl Sync for Enhancer {}

impl Drop for Enhancer {
    fn drop(&mut self) {
        // SAFETY: the handle is of codec_enhancer_open, and streams borrow the enhancer.
        unsafe { ffi::codec_enhancer_free(self.handle.as_ptr()) }
    }
}

impl Enhancer {
    /// Reads the weights of one that was made for `model`.
    pub fn open(model: &Model, path: &Path) -> Result<Self> {
        let name = c_text(path.as_os_str().as_bytes())?;
        let (model, path) = (model.handle.as_ptr(), name.as_ptr());
        let mut handle = ptr::null_mut();
        check_message(|message, size| {
            // SAFETY: all pointers are valid during the call; NULL chooses the instruction set.
            unsafe {
                ffi::codec_enhancer_open(model, path, ptr::null(), &mut handle, message, size)
            }
        })?;
        Ok(Enhancer { handle: NonNull::new(handle).expect("an enhancer that was opened") })
    }

    /// Enhances all decoded samples of one channel.
    pub fn enhance(&self, samples: &[f32]) -> Result<Vec<f32>> {
        let mut stream = EnhancerStream::new(self)?;
        let mut enhanced = stream.push(samples)?;
        enhanced.extend(stream.flush()?);
        Ok(enhanced)
    }
}

/// Enhances decoded audio of one channel, stretch by stretch.
pub struct EnhancerStream<'e> {
    handle: NonNull<ffi::codec_enhancer_stream>,
    enhancer: PhantomData<&'e Enhancer>,
}

// SAFETY: a stream may move to another thread; `push` takes it mutably, so one call is made at a time.
unsafe impl Send for EnhancerStream<'_> {}

impl Drop for EnhancerStream<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is of codec_enhancer_stream_new.
        unsafe { ffi::codec_enhancer_stream_free(self.handle.as_ptr()) }
    }
}

impl<'e> EnhancerStream<'e> {
    /// Begins a stream.
    pub fn new(enhancer: &'e Enhancer) -> Result<Self> {
        let mut handle = ptr::null_mut();
        // SAFETY: the enhancer outlives the stream by its lifetime.
        check(unsafe { ffi::codec_enhancer_stream_new(enhancer.handle.as_ptr(), &mut handle) })?;
        let handle = NonNull::new(handle).expect("a stream that was made");
        Ok(EnhancerStream { handle, enhancer: PhantomData })
    }

    /// Takes decoded samples, any number; gives those of the stretches that are complete.
    pub fn push(&mut self, samples: &[f32]) -> Result<Vec<f32>> {
        let (stream, from, n) = (self.handle.as_ptr(), samples.as_ptr(), samples.len());
        // SAFETY: the stream is valid, there are n samples, and there is room for what comes out.
        let ready = unsafe { ffi::codec_enhancer_stream_ready(stream, n) };
        Self::samples(ready, |to, room, given| unsafe {
            ffi::codec_enhancer_stream_push(stream, from, n, to, room, given)
        })
    }

    /// Ends the stream; gives the samples that are left.
    pub fn flush(&mut self) -> Result<Vec<f32>> {
        let stream = self.handle.as_ptr();
        // SAFETY: as in `push`.
        let left = unsafe { ffi::codec_enhancer_stream_left(stream) };
        Self::samples(left, |to, room, given| unsafe {
            ffi::codec_enhancer_stream_flush(stream, to, room, given)
        })
    }

    fn samples(
        room: usize,
        call: impl FnOnce(*mut f32, usize, &mut usize) -> ffi::codec_status,
    ) -> Result<Vec<f32>> {
        let (mut samples, mut given) = (vec![0.0; room], 0);
        check(call(samples.as_mut_ptr(), room, &mut given))?;
        assert_eq!(given, room);
        Ok(samples)
    }
}
