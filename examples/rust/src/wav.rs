//! WAV files of 16-bit samples, the plainest ones: no tags, no other sample format.

use std::ops::Range;

/// A sound: samples of each channel, full scale 1.
pub struct Sound {
    pub sample_rate: u32,
    pub channels: Vec<Vec<f32>>,
}

/// Reads the bytes of a WAV. The error says in one line what is wrong.
pub fn read(bytes: &[u8]) -> Result<Sound, &'static str> {
    if bytes.len() < 12 || &bytes[..4] != b"RIFF" || &bytes[8..12] != b"WAVE" {
        return Err("not a WAV");
    }
    let mut format = None;
    let mut rest = &bytes[12..];
    while let Some((head, behind)) = rest.split_at_checked(8) {
        let size = u32::from_le_bytes(head[4..].try_into().expect("four bytes")) as usize;
        let (body, next) = behind.split_at_checked(size).ok_or("a WAV that is cut off")?;
        match &head[..4] {
            b"fmt " if size >= 16 => format = Some(body),
            b"data" => return sound(format.ok_or("a WAV without a format")?, body),
            _ => {}
        }
        rest = next.get(size % 2..).unwrap_or_default();
    }
    Err("a WAV without samples")
}

fn sound(format: &[u8], data: &[u8]) -> Result<Sound, &'static str> {
    let short = |at| u16::from_le_bytes([format[at], format[at + 1]]);
    let (kind, count, bits) = (short(0), short(2) as usize, short(14));
    if (kind, bits) != (1, 16) {
        return Err("a WAV of other samples than 16-bit integers");
    }
    if count == 0 || data.len() < 2 * count {
        return Err("a WAV without samples");
    }
    let mut channels = vec![Vec::with_capacity(data.len() / (2 * count)); count];
    for frame in data.chunks_exact(2 * count) {
        for (channel, sample) in channels.iter_mut().zip(frame.chunks_exact(2)) {
            channel.push(f32::from(i16::from_le_bytes([sample[0], sample[1]])) / 32768.0);
        }
    }
    let sample_rate = u32::from_le_bytes(format[4..8].try_into().expect("four bytes"));
    Ok(Sound { sample_rate, channels })
}

/// A stretch of two channels, left and right in turn; of one channel, a pair of itself.
pub fn paired(channels: &[Vec<f32>], stretch: Range<usize>) -> Vec<f32> {
    let (left, right) = (&channels[0], &channels[channels.len() - 1]);
    stretch.flat_map(|i| [left[i], right[i]]).collect()
}

/// Both channels of each stream of pairs.
pub fn unpaired(streams: &[Vec<f32>]) -> Vec<Vec<f32>> {
    (0..2 * streams.len())
        .map(|k| streams[k / 2].chunks_exact(2).map(|pair| pair[k % 2]).collect())
        .collect()
}

/// Makes `count` channels of as many or one more: the last is then the mean of the last two.
pub fn join(channels: &mut Vec<Vec<f32>>, count: usize) {
    if channels.len() > count {
        let other = channels.pop().expect("one more than there are");
        let last = &mut channels[count - 1];
        last.iter_mut().zip(other).for_each(|(one, other)| *one = (*one + other) * 0.5);
    }
}

/// Makes the bytes of a WAV of channels of equal length, or None beyond its 4 GB.
pub fn write(sound: &Sound) -> Option<Vec<u8>> {
    let (count, n) = (sound.channels.len(), sound.channels[0].len());
    let block = u16::try_from(2 * count).ok()?;
    let size = u32::try_from(n.checked_mul(block.into())?).ok()?;
    let mut bytes = Vec::with_capacity(44 + size as usize);
    bytes.extend(b"RIFF");
    bytes.extend(size.checked_add(36)?.to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    bytes.extend((count as u16).to_le_bytes());
    bytes.extend(sound.sample_rate.to_le_bytes());
    bytes.extend(sound.sample_rate.checked_mul(block.into())?.to_le_bytes());
    bytes.extend(block.to_le_bytes());
    bytes.extend(16u16.to_le_bytes());
    bytes.extend(b"data");
    bytes.extend(size.to_le_bytes());
    for i in 0..n {
        for channel in &sound.channels {
            let value = (channel[i] * 32768.0).round_ties_even().clamp(-32768.0, 32767.0);
            bytes.extend((value as i16).to_le_bytes());
        }
    }
    Some(bytes)
}
