"""The commands that learn durations and voices, and speak; and replies that do."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codec.cli import options
from codec.cli.paths import FILE, PATH, TEXT
from codec.errors import OptionError
from codec.support.progress import Progress

if TYPE_CHECKING:
    from codec.api import Codec
    from codec.lm.duplex import Turn
    from codec.lm.speech.speak import Speaker
    from codec.lm.speech.voices import Voice


@click.command()
@click.argument("tokens", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="File to write (.safetensors).")
@click.option("--voices", type=FILE, help="A table of the voices to store.")
@click.option(
    "-n",
    "--codebooks",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="Codebooks of the stored voices.",
)
@click.option(
    "--epochs", type=click.IntRange(1), default=8, show_default=True, help="Passes over the rows."
)
@click.option("--seed", type=options.SEED, default=0, show_default=True, help="Random seed.")
@options.torch_threads
@options.force_one
@options.quiet
def train_speech(
    tokens: Path,
    output: Path,
    voices: Path | None,
    codebooks: int,
    epochs: int,
    seed: int,
    threads: int | None,
    force: bool,
    quiet: bool,
) -> None:
    """Learn from tokens how phones follow each other and how long they last, and store voices.

    `codec speak` and `codec continue` use what this writes.

    TOKENS is a folder of `codec tokenize` whose rows have the column phones (START:PHONE ..., START
    in units of 10 ms) and, as far as they are known, text and speaker. Rows whose column split says
    "validation" only measure.

    --voices is tab-separated, with the columns name, speaker (as the rows spell it), licence and
    source. Each voice is 3 s of that speaker.
    """
    from codec.lm import need_torch

    with need_torch():
        import torch

    from codec.corpus.token_rows import TokenRows
    from codec.lm.speech.durations import errors
    from codec.lm.speech.phone_model import perplexity
    from codec.lm.speech.voices import learn, read_wanted
    from codec.support.atomic import check_writable

    check_writable(output, overwrite=force, source=voices)
    if threads is not None:
        torch.set_num_threads(threads)
    wanted = read_wanted(voices) if voices is not None else []
    rows = TokenRows(tokens)
    with Progress(2 * epochs, shown=not quiet) as progress:
        speech, held = learn(
            rows,
            str(rows.card["model"]),
            wanted,
            levels=codebooks,
            epochs=epochs,
            seed=seed,
            report=lambda epoch, loss: progress.advance(f"epoch {epoch}, loss {loss:.3f}", 1),
        )
    speech.save(output, overwrite=force)
    click.echo(
        f"{output}: durations, phones, and {len(speech.voices)} voices: {', '.join(speech.voices)}"
    )
    if held:
        found = errors(speech.durations, held, with_rate=False)
        assert speech.phones is not None
        click.echo(
            f"{len(held)} clips for validation: {found['error']:.1f} ms off (each phone's mean:"
            f" {found['baseline']:.1f} ms), correlation {found['correlation']:.2f};"
            f" perplexity of phones {perplexity(speech.phones, held):.1f}"
        )


@click.command()
@click.argument("text")
@click.option(
    "--voice",
    default="kathleen",
    show_default=True,
    help="A stored voice, or a recording of 3 s or more.",
)
@click.option("-o", "--output", type=TEXT, required=True, help="Audio file, or -.")
@click.option(
    "--rate", type=options.Number(0.25, 4), default=1.0, show_default=True, help="How fast."
)
@click.option(
    "--temperature",
    type=options.Number(0),
    help="How freely codes are drawn; 0 takes the likeliest. [default: 0.3]",
)
@click.option("--top-k", type=click.IntRange(0), help="Draw from the likeliest K codes; 0: all.")
@click.option(
    "--guidance",
    type=options.Number(0, 100),
    help="How strictly phones are followed. [default: 2]",
)
@click.option(
    "--voice-guidance",
    type=options.Number(0, 100),
    help="How strictly the voice is followed. [default: 1]",
)
@click.option(
    "--adapt",
    type=click.IntRange(0),
    help="Steps in which the model first learns from a recorded voice; three take about a second,"
    " and 0 leaves it as it is. [default: 8]",
)
@options.postfilter
@options.enhance_usually
@click.option("--seed", type=options.SEED, default=0, show_default=True, help="Random seed.")
@click.option("--weights", type=FILE, help="A language model. [default: the shipped one]")
@click.option("--voices", type=FILE, help="Durations and voices. [default: the shipped ones]")
@options.model
@options.one_thread
@options.force_one
@options.quiet
def speak(
    text: str,
    voice: str,
    output: str,
    rate: float,
    temperature: float | None,
    top_k: int | None,
    guidance: float | None,
    voice_guidance: float | None,
    adapt: int | None,
    postfilter: bool,
    enhance: bool | None,
    seed: int,
    weights: Path | None,
    voices: Path | None,
    model: str,
    threads: int,
    force: bool,
    quiet: bool,
) -> None:
    """Speak an English TEXT in a voice. With - as TEXT, reads standard input.

    --voice is the name of a stored voice, or a recording of somebody who agreed to be imitated. It
    needs one second at least; three or more are better, and only the first ten count. With -o - a
    WAV goes to standard output while it is made. The same seed gives the same speech on the same
    machine.
    """
    from codec.lm import need_torch

    with need_torch():
        import torch

    from codec.api import load
    from codec.cli.sound import check_output, chosen_post, write_frames
    from codec.lm.speech.pronounce import phones_of
    from codec.lm.speech.speak import SPEECH, STYLE, WEIGHTS, Speaker

    target = check_output(output, overwrite=force, source=Path(voice))
    if text == "-":
        text = sys.stdin.buffer.read().decode("utf-8", "replace")
    torch.set_num_threads(threads)
    speaker = Speaker.load(weights or WEIGHTS, voices or SPEECH, load(model))
    post = chosen_post(speaker.codec, postfilter=postfilter, enhance=enhance)
    chosen: dict[str, Any] = {
        "temperature": temperature,
        "guidance": guidance,
        "prompt_guidance": voice_guidance,
        "seed": seed,
    }
    if top_k is not None:
        chosen["top_k"] = top_k or None
    given = {name: value for name, value in chosen.items() if value is not None or name == "top_k"}
    style = dataclasses.replace(STYLE, **given)
    phones_of(text)  # what cannot be read is an error now, and not once a voice is learned
    known = voice_named(speaker, voice, adapt, shown=not quiet)
    script = speaker.script(text, known, rate=rate)
    frames = speaker.draw(script, known, style=style)
    write_frames(
        speaker.codec,
        frames,
        target,
        overwrite=force,
        quiet=quiet,
        n_frames=sum(map(len, script)),
        post=post,
    )


def voice_named(
    speaker: Speaker, name: str, steps: int | None = None, *, shown: bool = True
) -> Voice:
    """Return a stored voice, or that of the recording at this path, learned in so many steps.

    steps: by default those of `Speaker.voice_of`. shown: whether a terminal shows that the model
    learns.
    """
    if name in speaker.speech.voices or not Path(name).exists():
        return speaker.speech.voice(name)
    from codec.cli.sound import learning, read_mono
    from codec.lm.continuation import VOICE_STEPS

    audio, sample_rate = read_mono(Path(name))
    with Progress(shown=shown) as progress:
        report = learning(progress)
        return speaker.voice_of(
            audio, sample_rate, steps=VOICE_STEPS if steps is None else steps, report=report
        )


def speaking(
    model: Codec, weights: Path | None, voice: str, ask: str | None
) -> tuple[int, Callable[[Turn], Any]]:
    """Return the codebooks of a reply that speaks, and the callback that makes it."""
    from codec.lm import need_torch
    from codec.quality import whisper

    with need_torch():
        import torch
    whisper.model_folder()  # raises if there is none

    from codec.lm.duplex.answers import asked, spoken
    from codec.lm.speech.speak import WEIGHTS, Speaker

    torch.set_num_threads(1)
    command = None if ask is None else shlex.split(ask)
    if command == []:
        raise OptionError("--ask needs a command")
    speaker = Speaker.load(weights or WEIGHTS, codec=model)

    def answer(turn: Turn) -> Any:
        words = whisper.recognise(turn.samples, model.config.sample_rate).strip()
        return words if command is None or not words else asked(command, words)

    return speaker.language_model.config.levels, spoken(
        speaker, answer, voice_named(speaker, voice)
    )
