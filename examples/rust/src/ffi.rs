//! What this crate uses of codec.h, as C declares it.
//!
//! `tests/library/test_rust.py` compares each function with the header, and each struct with the
//! layout that a C compiler gives it.

#![allow(missing_docs, non_camel_case_types)]

use std::ffi::{c_char, c_int, c_void};

/// `codec_status`: 0 is success.
pub type codec_status = c_int;

pub const CODEC_ABI_VERSION: c_int = 1;
pub const CODEC_ERROR_ARGUMENT: codec_status = 1;
pub const CODEC_ERROR_IO: codec_status = 4;
pub const CODEC_ERROR_UNSUPPORTED: codec_status = 6;
pub const CODEC_CODER_RAW: u32 = 0;
pub const CODEC_CODER_FAST: u32 = 1;
pub const CODEC_CODER_BEST: u32 = 2;
pub const CODEC_HEADER_BYTES: usize = 64;
pub const CODEC_UNKNOWN_LENGTH: u64 = u64::MAX;

macro_rules! opaque {
    ($($name:ident)*) => {$(
        /// Known to C alone.
        #[repr(C)]
        pub struct $name {
            _content: [u8; 0],
        }
    )*};
}
opaque! {
    codec_model codec_encoder codec_decoder codec_enhancer codec_enhancer_stream
    codec_coder codec_reader codec_writer
}

/// `codec_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct codec_info {
    pub sample_rate: u32,
    pub hop_length: u32,
    pub codebooks: u32,
    pub codebook_size: u32,
    pub latent_dim: u32,
    pub encoder_latency: u32,
    pub decoder_latency: u32,
    pub id: [u8; 8],
    pub channels: u32,
}

/// `codec_file_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct codec_file_info {
    pub n_samples: u64,
    pub sample_rate: u32,
    pub channels: u32,
    pub codebooks: u32,
    pub codebook_size: u32,
    pub frame_rate: u32,
    pub frame_divisor: u32,
    pub chunk_frames: u32,
    pub coder: u32,
    pub variable: u32,
    pub metadata_bytes: u32,
    pub together: u32,
    pub model_id: [u8; 8],
    pub tables_id: [u8; 8],
}

/// `codec_tag`.
#[repr(C)]
pub struct codec_tag {
    pub key: *const c_char,
    pub value: *const c_char,
}

pub type codec_read = unsafe extern "C" fn(user: *mut c_void, bytes: *mut c_void, n: usize) -> i64;
pub type codec_write =
    unsafe extern "C" fn(user: *mut c_void, bytes: *const c_void, n: usize) -> c_int;

extern "C" {
    pub fn codec_status_text(status: c_int) -> *const c_char;
    pub fn codec_version() -> *const c_char;
    pub fn codec_abi_version() -> c_int;

    pub fn codec_model_open(
        path: *const c_char,
        instruction_set: *const c_char,
        model: *mut *mut codec_model,
        message: *mut c_char,
        message_size: usize,
    ) -> codec_status;
    pub fn codec_model_free(model: *mut codec_model);
    pub fn codec_model_info(
        model: *const codec_model,
        info: *mut codec_info,
        info_size: usize,
    ) -> codec_status;
    pub fn codec_model_instruction_set(model: *const codec_model) -> *const c_char;
    pub fn codec_frames(model: *const codec_model, n: usize) -> usize;

    pub fn codec_encode(
        model: *const codec_model,
        samples: *const f32,
        n: usize,
        codebooks: usize,
        codes: *mut u16,
        stride: usize,
        frames: *mut usize,
    ) -> codec_status;
    pub fn codec_decode(
        model: *const codec_model,
        codes: *const u16,
        stride: usize,
        codebooks: usize,
        frames: usize,
        samples: *mut f32,
        capacity: usize,
        n: *mut usize,
    ) -> codec_status;

    pub fn codec_encoder_new(
        model: *const codec_model,
        codebooks: usize,
        encoder: *mut *mut codec_encoder,
    ) -> codec_status;
    pub fn codec_encoder_free(encoder: *mut codec_encoder);
    pub fn codec_encoder_set_beam(encoder: *mut codec_encoder, paths: usize) -> codec_status;
    pub fn codec_encoder_set_refine(
        encoder: *mut codec_encoder,
        steps: usize,
        message: *mut c_char,
        message_size: usize,
    ) -> codec_status;
    pub fn codec_encoder_ready(encoder: *const codec_encoder, n: usize) -> usize;
    pub fn codec_encoder_left(encoder: *const codec_encoder) -> usize;
    pub fn codec_encoder_push(
        encoder: *mut codec_encoder,
        samples: *const f32,
        n: usize,
        codes: *mut u16,
        stride: usize,
        frames: *mut usize,
    ) -> codec_status;
    pub fn codec_encoder_flush(
        encoder: *mut codec_encoder,
        codes: *mut u16,
        stride: usize,
        frames: *mut usize,
    ) -> codec_status;

    pub fn codec_decoder_new(
        model: *const codec_model,
        decoder: *mut *mut codec_decoder,
    ) -> codec_status;
    pub fn codec_decoder_free(decoder: *mut codec_decoder);
    pub fn codec_decoder_set_postfilter(
        decoder: *mut codec_decoder,
        on: c_int,
        message: *mut c_char,
        message_size: usize,
    ) -> codec_status;
    pub fn codec_decoder_latency(decoder: *const codec_decoder) -> usize;
    pub fn codec_decoder_ready(decoder: *const codec_decoder, frames: usize) -> usize;
    pub fn codec_decoder_left(decoder: *const codec_decoder) -> usize;
    pub fn codec_decoder_push(
        decoder: *mut codec_decoder,
        codes: *const u16,
        stride: usize,
        codebooks: usize,
        frames: usize,
        samples: *mut f32,
        capacity: usize,
        n: *mut usize,
    ) -> codec_status;
    pub fn codec_decoder_flush(
        decoder: *mut codec_decoder,
        samples: *mut f32,
        capacity: usize,
        n: *mut usize,
    ) -> codec_status;

    pub fn codec_enhancer_open(
        model: *const codec_model,
        path: *const c_char,
        instruction_set: *const c_char,
        enhancer: *mut *mut codec_enhancer,
        message: *mut c_char,
        message_size: usize,
    ) -> codec_status;
    pub fn codec_enhancer_free(enhancer: *mut codec_enhancer);
    pub fn codec_enhancer_stream_new(
        enhancer: *const codec_enhancer,
        stream: *mut *mut codec_enhancer_stream,
    ) -> codec_status;
    pub fn codec_enhancer_stream_free(stream: *mut codec_enhancer_stream);
    pub fn codec_enhancer_stream_ready(stream: *const codec_enhancer_stream, n: usize) -> usize;
    pub fn codec_enhancer_stream_left(stream: *const codec_enhancer_stream) -> usize;
    pub fn codec_enhancer_stream_push(
        stream: *mut codec_enhancer_stream,
        samples: *const f32,
        n: usize,
        enhanced: *mut f32,
        capacity: usize,
        given: *mut usize,
    ) -> codec_status;
    pub fn codec_enhancer_stream_flush(
        stream: *mut codec_enhancer_stream,
        enhanced: *mut f32,
        capacity: usize,
        given: *mut usize,
    ) -> codec_status;

    pub fn codec_coder_open(
        coder: u32,
        model: *const codec_model,
        data: *const c_void,
        size: usize,
        opened: *mut *mut codec_coder,
        message: *mut c_char,
        message_size: usize,
    ) -> codec_status;
    pub fn codec_coder_free(coder: *mut codec_coder);

    pub fn codec_file_describe(
        model: *const codec_model,
        channels: u32,
        codebooks: u32,
        live: c_int,
        info: *mut codec_file_info,
    ) -> codec_status;
    pub fn codec_file_streams(info: *const codec_file_info) -> u32;

    pub fn codec_reader_open(
        read: codec_read,
        user: *mut c_void,
        reader: *mut *mut codec_reader,
    ) -> codec_status;
    pub fn codec_reader_free(reader: *mut codec_reader);
    pub fn codec_reader_info(reader: *const codec_reader) -> *const codec_file_info;
    pub fn codec_reader_tags(reader: *const codec_reader) -> usize;
    pub fn codec_reader_tag(
        reader: *const codec_reader,
        i: usize,
        tag: *mut codec_tag,
    ) -> codec_status;
    pub fn codec_reader_use(reader: *mut codec_reader, coder: *const codec_coder) -> codec_status;
    pub fn codec_reader_next(
        reader: *mut codec_reader,
        codes: *mut u16,
        capacity: usize,
        codebooks: *mut usize,
        frames: *mut usize,
    ) -> codec_status;

    pub fn codec_writer_open(
        info: *const codec_file_info,
        coder: *const codec_coder,
        tags: *const codec_tag,
        n_tags: usize,
        write: codec_write,
        user: *mut c_void,
        writer: *mut *mut codec_writer,
    ) -> codec_status;
    pub fn codec_writer_free(writer: *mut codec_writer);
    pub fn codec_writer_write(
        writer: *mut codec_writer,
        codes: *const u16,
        stride: usize,
        frames: usize,
    ) -> codec_status;
    pub fn codec_writer_finish(
        writer: *mut codec_writer,
        n_samples: u64,
        header: *mut u8,
    ) -> codec_status;
}
