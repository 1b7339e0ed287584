//! Compresses WAV to `.nac` files and restores it, as `codec` does, byte for byte:
//!
//! ```sh
//! nac compress -m default.safetensors talk.wav talk.nac
//! nac decompress -m default.safetensors talk.nac talk.wav
//! ```

mod wav;

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, process};

use nac::enhancer::Enhancer;
use nac::files::{self, Coder, Effort, Reader, Writer};
use nac::{Decoder, Encoder, Model};
use wav::Sound;

type Failure = Box<dyn Error>;

const USAGE: &str = "\
usage: nac compress   -m MODEL [-n CODEBOOKS] [--beam PATHS] [--refine STEPS]
                      [--effort raw|fast|best] [-f] IN.wav OUT.nac
       nac decompress -m MODEL [--postfilter | --[no-]enhance] [-f] IN.nac OUT.wav";
const BLOCK: usize = 1 << 16; // samples that an encoder takes at a time

#[derive(Default)]
struct Options {
    model: PathBuf,
    codebooks: Option<u32>,
    beam: Option<usize>,
    refine: usize,
    postfilter: bool,
    enhance: Option<bool>, // None: where the model has an enhancer
    effort: Option<Effort>,
    force: bool,
    files: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let (work, options) = match parse(&words) {
        Ok(found) => found,
        Err(reason) => {
            eprintln!("nac: {reason}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let (source, target) = (&options.files[0], &options.files[1]);
    match apart(source, target).and_then(|()| work(&options, source, target)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("nac: {}: {reason}", source.display());
            ExitCode::FAILURE
        }
    }
}

/// Refuses a target that is the source, also by a link or another spelling.
fn apart(source: &Path, target: &Path) -> Result<(), Failure> {
    match (fs::canonicalize(source), fs::canonicalize(target)) {
        (Ok(one), Ok(other)) if one == other => Err("the output would overwrite the input".into()),
        _ => Ok(()),
    }
}

type Work = fn(&Options, &Path, &Path) -> Result<(), Failure>;

fn parse(words: &[String]) -> Result<(Work, Options), String> {
    let (command, rest) = words.split_first().ok_or("compress or decompress?")?;
    let work: Work = match command.as_str() {
        "compress" => compress,
        "decompress" => decompress,
        _ => return Err("compress or decompress?".into()),
    };
    let mut options = Options::default();
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{word} takes a value"));
        match word.as_str() {
            "-m" | "--model" => options.model = value()?.into(),
            "-n" | "--codebooks" => {
                let count = value()?.parse().map_err(|_| "-n takes a number from 1")?;
                options.codebooks = Some(count);
            }
            "--beam" => {
                let paths = value()?.parse().map_err(|_| "--beam takes a number from 1 to 64")?;
                options.beam = Some(paths);
            }
            "--refine" => {
                let wrong = "--refine takes a number from 0 to 1000";
                options.refine = value()?.parse().map_err(|_| wrong)?;
            }
            "--effort" => {
                options.effort = Some(match value()?.as_str() {
                    "raw" => Effort::Raw,
                    "fast" => Effort::Fast,
                    "best" => Effort::Best,
                    _ => return Err("--effort is one of raw, fast, best".into()),
                });
            }
            "--postfilter" => options.postfilter = true,
            "--enhance" => options.enhance = Some(true),
            "--no-enhance" => options.enhance = Some(false),
            "-f" | "--force" => options.force = true,
            _ if word.starts_with('-') => return Err(format!("no option {word}")),
            _ => options.files.push(word.into()),
        }
    }
    if options.model.as_os_str().is_empty() {
        return Err("--model names the weights".into());
    }
    if options.postfilter && options.enhance == Some(true) {
        return Err("choose --postfilter or --enhance, not both".into());
    }
    if options.files.len() != 2 {
        return Err("one input and one output".into());
    }
    Ok((work, options))
}

fn compress(options: &Options, source: &Path, target: &Path) -> Result<(), Failure> {
    let sound = wav::read(&fs::read(source)?)?;
    let model = open_model(options)?;
    check_rate(&model, sound.sample_rate)?;
    let codebooks = options.codebooks.unwrap_or(model.info().codebooks);
    let coder = choose_coder(options, &model)?;
    let together = model.info().channels as usize;
    let mut encoders = sound
        .channels
        .chunks(together)
        .map(|_| {
            let mut encoder = Encoder::new(&model, codebooks as usize)?;
            encoder.set_beam(options.beam.unwrap_or(1))?;
            encoder.set_refine(options.refine)?;
            Ok(encoder)
        })
        .collect::<nac::Result<Vec<_>>>()?;

    publish(target, options.force, |file| {
        let info = files::describe(&model, sound.channels.len().try_into()?, codebooks)?;
        let mut writer = Writer::open(info, &coder, &[], BufWriter::new(&mut *file))?;
        let n = sound.channels[0].len();
        for start in (0..n).step_by(BLOCK) {
            let stretch = start..n.min(start + BLOCK);
            let each = encoders.iter_mut().zip(sound.channels.chunks(together));
            let codes = each.map(|(encoder, audio)| match audio {
                [only] if together == 1 => encoder.push(&only[stretch.clone()]),
                _ => encoder.push(&wav::paired(audio, stretch.clone())),
            });
            writer.write(&codes.collect::<nac::Result<Vec<_>>>()?)?;
        }
        let left = encoders.iter_mut().map(Encoder::flush);
        writer.write(&left.collect::<nac::Result<Vec<_>>>()?)?;
        let header = writer.finish(n as u64)?;
        drop(writer);
        file.seek(SeekFrom::Start(0))?;
        Ok(file.write_all(&header)?)
    })
}

fn decompress(options: &Options, source: &Path, target: &Path) -> Result<(), Failure> {
    let file = BufReader::new(File::open(source)?);
    let model = open_model(options)?;
    let coder; // dropped after the reader, which uses it
    let mut reader = Reader::open(file)?;
    let info = reader.info();
    coder = open_coder(options, &model, Effort::from_number(info.coder)?)?;
    check_rate(&model, info.sample_rate)?;
    reader.decode_with(&coder)?;
    let beside = options.model.with_extension("enhancer");
    let enhance = options.enhance.unwrap_or(!options.postfilter && beside.exists());
    let enhancer = enhance.then(|| open_enhancer(&beside, &model)).transpose().map_err(
        |error| match options.enhance {
            None => format!("{error}; --no-enhance does without").into(),
            Some(_) => error,
        },
    )?;
    let mut streams = vec![Vec::new(); files::streams(&info)];
    let mut decoders = streams
        .iter()
        .map(|_| {
            let mut decoder = Decoder::new(&model)?;
            decoder.set_postfilter(options.postfilter)?;
            Ok(decoder)
        })
        .collect::<nac::Result<Vec<_>>>()?;
    while let Some(chunk) = reader.next_chunk()? {
        for ((stream, decoder), codes) in streams.iter_mut().zip(&mut decoders).zip(&chunk) {
            stream.extend(decoder.push(codes)?);
        }
    }
    let n = reader.n_samples().ok_or("the file does not say its length")?.try_into()?;
    for (stream, decoder) in streams.iter_mut().zip(&mut decoders) {
        stream.extend(decoder.flush()?);
    }
    let mut channels: Vec<_> = match info.together {
        2 => wav::unpaired(&streams),
        _ => streams,
    };
    if let Some(enhancer) = enhancer {
        for channel in &mut channels {
            *channel = enhancer.enhance(channel)?;
        }
    }
    wav::join(&mut channels, info.channels as usize);
    channels.iter_mut().for_each(|channel| channel.truncate(n));
    let sound = Sound { sample_rate: info.sample_rate, channels };
    let bytes = wav::write(&sound).ok_or("too long for a WAV, which has at most 4 GB")?;
    publish(target, options.force, |file| Ok(file.write_all(&bytes)?))
}

fn open_model(options: &Options) -> Result<Model, Failure> {
    Model::open(&options.model).map_err(|error| of_file(error, &options.model))
}

fn open_enhancer(path: &Path, model: &Model) -> Result<Enhancer, Failure> {
    Enhancer::open(model, path).map_err(|error| of_file(error, path))
}

/// What is wrong with a file of weights.
fn of_file(error: nac::Error, path: &Path) -> Failure {
    match error.status {
        nac::ffi::CODEC_ERROR_IO => error.into(), // it names the file
        _ => format!("{}: {error}", path.display()).into(),
    }
}

fn check_rate(model: &Model, sample_rate: u32) -> Result<(), Failure> {
    let own = model.info().sample_rate;
    if sample_rate == own {
        return Ok(());
    }
    Err(format!("{sample_rate} Hz: libcodec does not resample, and the model is for {own} Hz")
        .into())
}

/// The coder that is asked for; without a wish fast, or raw if the model has no data for it.
fn choose_coder<'m>(options: &Options, model: &'m Model) -> Result<Coder<'m>, Failure> {
    match options.effort {
        Some(effort) => open_coder(options, model, effort),
        None => open_coder(options, model, Effort::Fast)
            .or_else(|_| open_coder(options, model, Effort::Raw)),
    }
}

fn open_coder<'m>(
    options: &Options,
    model: &'m Model,
    effort: Effort,
) -> Result<Coder<'m>, Failure> {
    let data = match effort {
        Effort::Raw => Vec::new(),
        _ => fs::read(options.model.with_extension("entropy"))
            .map_err(|_| "the model has no data for its coders")?,
    };
    Ok(Coder::open(effort, model, &data)?)
}

/// Lets `fill` write a file that gets its name when it is complete, and is removed otherwise.
fn publish(
    target: &Path,
    force: bool,
    fill: impl FnOnce(&mut File) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if target.exists() && !force {
        return Err("the output exists; --force overwrites it".into());
    }
    let target = &match target.is_symlink() {
        true => fs::canonicalize(target) // what it leads to is replaced
            .map_err(|_| "the output is a link that leads nowhere")?,
        false => target.to_path_buf(),
    };
    let aside = target.with_file_name(format!(".nac-{}.part", process::id()));
    let mut file = File::create_new(&aside)?;
    let done = fill(&mut file)
        .and_then(|()| Ok(file.sync_all()?))
        .and_then(|()| Ok(fs::rename(&aside, target)?));
    if done.is_err() {
        let _ = fs::remove_file(&aside); // what is told of is why there is no output
    }
    done
}
