//! The wrapper on the models that NAC_TEST_MODEL and NAC_TEST_PAIRS name. tests/library/test_rust.py makes
//! them: of one channel, and of two together.

use std::io::{self, Read, Write};
use std::path::Path;
use std::{env, thread};

use nac::enhancer::{Enhancer, EnhancerStream};
use nac::files::{describe, streams, Coder, Effort, Reader, Writer};
use nac::{Codes, Decoder, Encoder, Model};

fn open(variable: &str) -> Model {
    let path = env::var_os(variable).expect("the variable names a model");
    Model::open(Path::new(&path)).unwrap()
}

fn model() -> Model {
    open("NAC_TEST_MODEL")
}

fn tone(n: usize) -> Vec<f32> {
    (0..n).map(|i| 0.3 * (i as f32 * 0.05).sin()).collect()
}

/// Samples of no pattern, within +-0.5.
fn noise(n: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..n).map(|_| next()).collect()
}

/// One after the other, codebook by codebook.
fn joined(parts: &[Codes]) -> Codes {
    let (books, frames) = (parts[0].codebooks(), parts.iter().map(Codes::frames).sum());
    let row = |level| {
        parts.iter().flat_map(move |part| {
            part.values()[level * part.frames()..][..part.frames()].iter().copied()
        })
    };
    Codes::new(books, frames, (0..books).flat_map(row).collect())
}

#[test]
fn pieces_give_what_the_whole_gives() {
    for (model, channels) in [(model(), 1), (open("NAC_TEST_PAIRS"), 2)] {
        let (audio, books) = (tone(30_000), 2);
        let codes = model.encode(&audio, books).unwrap();
        let frames = model.frames(audio.len() / channels);
        assert_eq!((codes.codebooks(), codes.frames()), (books, frames));
        let mut encoder = Encoder::new(&model, books).unwrap();
        let mut parts: Vec<_> = audio.chunks(770).map(|part| encoder.push(part).unwrap()).collect();
        parts.push(encoder.flush().unwrap());
        assert_eq!(joined(&parts), codes);

        let samples = model.decode(&codes).unwrap();
        assert_eq!(samples.len(), channels * frames * model.info().hop_length as usize);
        let mut decoder = Decoder::new(&model).unwrap();
        let mut pieces = Vec::new();
        parts.iter().for_each(|part| pieces.extend(decoder.push(part).unwrap()));
        pieces.extend(decoder.flush().unwrap());
        assert_eq!(pieces, samples);
    }
}

#[test]
fn several_paths_find_other_codes() {
    let (model, audio, books) = (model(), tone(30_000), 3);
    let codes = |paths, size| {
        let mut encoder = Encoder::new(&model, books).unwrap();
        encoder.set_beam(paths).unwrap();
        let mut parts: Vec<_> =
            audio.chunks(size).map(|part| encoder.push(part).unwrap()).collect();
        parts.push(encoder.flush().unwrap());
        joined(&parts)
    };
    let eight = codes(8, audio.len());
    assert_eq!(codes(8, 770), eight);
    assert_eq!(codes(1, 770), model.encode(&audio, books).unwrap());
    assert_ne!(codes(1, 770), eight);
    let mut encoder = Encoder::new(&model, books).unwrap();
    for paths in [0, 65, usize::MAX] {
        assert_eq!(encoder.set_beam(paths).unwrap_err().status, 1);
    }
}

#[test]
fn steps_refine_codes_whatever_the_pieces() {
    let (model, audio, books) = (model(), noise(110_000), 3);
    let codes = |steps, size| {
        let mut encoder = Encoder::new(&model, books).unwrap();
        encoder.set_refine(steps).unwrap();
        let mut parts: Vec<_> =
            audio.chunks(size).map(|part| encoder.push(part).unwrap()).collect();
        parts.push(encoder.flush().unwrap());
        joined(&parts)
    };
    let plain = model.encode(&audio, books).unwrap();
    let refined = codes(10, audio.len());
    assert_eq!(codes(10, 7777), refined);
    assert_eq!(codes(0, 7777), plain);
    assert_eq!(refined.frames(), plain.frames());
    assert_ne!(refined, plain);
    let mut encoder = Encoder::new(&model, books).unwrap();
    let told = |result: nac::Result<()>| {
        let error = result.unwrap_err();
        (error.status, error.reason)
    };
    assert_eq!(
        told(encoder.set_refine(1001)),
        (1, "codes are refined by 0 to 1000 steps".to_owned())
    );
    encoder.push(&audio[..1]).unwrap();
    assert_eq!(
        told(encoder.set_refine(1)),
        (9, "the steps of a stream are set before its first sample".to_owned())
    );
}

#[test]
fn a_postfilter_gives_the_same_whatever_the_pieces() {
    let model = model();
    let codes = model.encode(&noise(60_000), 3).unwrap();
    let one = |at: usize| {
        Codes::new(3, 1, (0..3).map(|level| codes.values()[level * codes.frames() + at]).collect())
    };
    let mut decoder = Decoder::new(&model).unwrap();
    let plain = decoder.latency();
    assert_eq!(plain, model.info().decoder_latency as usize);
    decoder.set_postfilter(true).unwrap();
    assert!((480..600).contains(&(decoder.latency() - plain)));
    let mut whole = decoder.push(&codes).unwrap();
    assert_eq!(decoder.set_postfilter(false).unwrap_err().status, 9);
    whole.extend(decoder.flush().unwrap());
    assert_ne!(whole, model.decode(&codes).unwrap());
    let mut decoder = Decoder::new(&model).unwrap();
    decoder.set_postfilter(true).unwrap();
    let mut pieces = Vec::new();
    (0..codes.frames()).for_each(|at| pieces.extend(decoder.push(&one(at)).unwrap()));
    pieces.extend(decoder.flush().unwrap());
    assert_eq!(pieces, whole);
    let pairs = open("NAC_TEST_PAIRS");
    let error = Decoder::new(&pairs).unwrap().set_postfilter(true).unwrap_err();
    assert_eq!(error.status, 6);
    assert_eq!(error.reason, "the postfilter is for models of 24000 Hz, not 48000 Hz");
}

/// The enhancer beside the model of NAC_TEST_MODEL.
fn enhancer(model: &Model) -> nac::Result<Enhancer> {
    let weights = env::var_os("NAC_TEST_MODEL").expect("the variable names a model");
    Enhancer::open(model, &Path::new(&weights).with_extension("enhancer"))
}

#[test]
fn an_enhancer_gives_the_same_whatever_the_pieces() {
    let enhancer = enhancer(&model()).unwrap(); // which does not need the model any more
    let audio = noise(300_000);
    let whole = enhancer.enhance(&audio).unwrap();
    assert_eq!(whole.len(), audio.len());
    assert_ne!(whole, audio);
    let mut stream = EnhancerStream::new(&enhancer).unwrap();
    let mut parts: Vec<_> = audio.chunks(99_999).map(|part| stream.push(part).unwrap()).collect();
    assert!(parts.iter().any(|part| !part.is_empty()));
    parts.push(stream.flush().unwrap());
    assert_eq!(parts.concat(), whole);
    assert_eq!(stream.push(&audio).unwrap_err().status, 9);
    let mut stream = EnhancerStream::new(&enhancer).unwrap();
    assert_eq!(stream.push(&[f32::NAN]).unwrap_err().status, 7);
    assert!(stream.flush().unwrap().is_empty());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| assert_eq!(enhancer.enhance(&audio[..9000]).unwrap().len(), 9000));
        }
    });
}

#[test]
fn an_enhancer_belongs_to_its_model() {
    let error = enhancer(&open("NAC_TEST_PAIRS")).err().unwrap();
    assert_eq!(error.status, 6);
    assert_eq!(error.reason, "an enhancer is for models of 24000 Hz, not 48000 Hz");
    let missing = Enhancer::open(&model(), Path::new("/none.enhancer")).err().unwrap();
    assert_eq!((missing.status, missing.reason.as_str()), (4, "/none.enhancer: cannot be opened"));
}

#[test]
fn threads_share_a_model() {
    let model = model();
    let expected = model.encode(&tone(9000), 3).unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| assert_eq!(model.encode(&tone(9000), 3).unwrap(), expected));
        }
    });
}

#[test]
fn errors_have_the_status_and_the_words_of_c() {
    let model = model();
    let status = |result: nac::Result<Codes>| result.unwrap_err().status;
    assert_eq!(status(model.encode(&[f32::NAN; 5000], 1)), 7);
    assert_eq!(status(model.encode(&tone(5000), 0)), 1);
    assert_eq!(status(model.encode(&tone(5000), usize::MAX)), 1);
    assert_eq!(status(open("NAC_TEST_PAIRS").encode(&tone(5001), 1)), 1);
    let mut encoder = Encoder::new(&model, 1).unwrap();
    encoder.flush().unwrap();
    assert_eq!(status(encoder.push(&tone(5000))), 9);
    let error = model.decode(&Codes::new(1, 2, vec![0, u16::MAX])).unwrap_err();
    assert_eq!(
        (error.status, error.to_string().as_str()),
        (8, "codes or latents are out of range")
    );
    let missing = Model::open(Path::new("/none.safetensors")).err().unwrap();
    assert_eq!(
        (missing.status, missing.reason.as_str()),
        (4, "/none.safetensors: cannot be opened")
    );
    assert_eq!(Model::open(Path::new("a\0b")).err().unwrap().status, 1);
    assert_eq!(Coder::open(Effort::Fast, &model, b"no data").err().unwrap().status, 5);
}

/// A file of two streams, in memory.
fn file(model: &Model, coder: &Coder) -> (Vec<u8>, Codes) {
    let codes = model.encode(&tone(70_000), 3).unwrap();
    let mut bytes = Vec::new();
    let info = describe(model, 2, 3).unwrap();
    let tags = [("title", "caf\u{e9}"), ("comment", "")];
    let mut writer = Writer::open(info, coder, &tags, &mut bytes).unwrap();
    writer.write(&[codes.clone(), codes.clone()]).unwrap();
    let header = writer.finish(70_000).unwrap();
    drop(writer);
    bytes[..header.len()].copy_from_slice(&header);
    (bytes, codes)
}

#[test]
fn a_file_keeps_codes_and_tags() {
    let model = model();
    let coder = Coder::open(Effort::Raw, &model, &[]).unwrap();
    let (bytes, codes) = file(&model, &coder);
    let mut reader = Reader::open(&bytes[..]).unwrap();
    assert_eq!((reader.n_samples(), streams(&reader.info())), (Some(70_000), 2));
    let tags = reader.tags().unwrap();
    assert!(tags.contains(&("title".into(), "caf\u{e9}".into())), "{tags:?}");
    reader.decode_with(&coder).unwrap();
    let mut found = [Vec::new(), Vec::new()];
    while let Some(chunk) = reader.next_chunk().unwrap() {
        for (all, part) in found.iter_mut().zip(chunk) {
            all.push(part);
        }
    }
    assert!(found[0].len() > 1);
    assert!(found.iter().all(|parts| joined(parts) == codes));
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the cable is cut"))
    }
}

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::other("the cable is cut"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_a_callback_says_is_the_reason() {
    let model = model();
    let coder = Coder::open(Effort::Raw, &model, &[]).unwrap();
    let (bytes, _) = file(&model, &coder);
    let told = |error: nac::Error| (error.status, error.reason);
    let expected = (4, "the cable is cut".to_owned());
    assert_eq!(told(Reader::open(Broken).err().unwrap()), expected);
    let info = describe(&model, 1, 1).unwrap();
    assert_eq!(told(Writer::open(info, &coder, &[], Broken).err().unwrap()), expected);
    let mut reader = Reader::open(bytes[..200].chain(Broken)).unwrap();
    reader.decode_with(&coder).unwrap();
    assert_eq!(told(reader.next_chunk().unwrap_err()), expected);
}
