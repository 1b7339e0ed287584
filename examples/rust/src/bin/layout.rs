//! Prints the sizes and offsets, in bytes, of all structs that C and Rust share.

use std::mem::offset_of;

use nac::ffi::{codec_file_info, codec_info, codec_tag};

fn size_of_field<S, F>(_: fn(&S) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! show {
    ($($name:ident { $($field:ident)* })*) => {$(
        println!("{} 0 {}", stringify!($name), size_of::<$name>());
        $(
            let size = size_of_field(|s: &$name| &s.$field);
            println!(
                "{}.{} {} {}",
                stringify!($name), stringify!($field), offset_of!($name, $field), size,
            );
        )*
    )*};
}

fn main() {
    show! {
        codec_info {
            sample_rate hop_length codebooks codebook_size latent_dim encoder_latency
            decoder_latency id channels
        }
        codec_file_info {
            n_samples sample_rate channels codebooks codebook_size frame_rate frame_divisor
            chunk_frames coder variable metadata_bytes together model_id tables_id
        }
        codec_tag { key value }
    }
}
