"""The commands that train a language model of audio and let it go on or compose."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codec.cli import options
from codec.cli.options import Command
from codec.cli.paths import FILE, PATH, TEXT
from codec.engine.post import Wanted
from codec.errors import ModelError, TrainingError
from codec.support.progress import Progress

if TYPE_CHECKING:
    from codec.api import Codec
    from codec.lm.duplex import Turn
    from codec.lm.model.language_model import LanguageModel
    from codec.support.types import Codes


@click.command("train-lm")
@click.argument("tokens", type=PATH, nargs=-1, required=True)
@click.option("-o", "--output", type=FILE, required=True, help="A .safetensors file.")
@click.option("--run", type=PATH, help="Folder of the run. [default: below ~/.cache/codec]")
@click.option(
    "--init",
    type=FILE,
    help="Weights to begin with, of as many layers or fewer. [default: random ones]",
)
@click.option("--preset", default="small", show_default=True, help="Size: tiny, small or base.")
@click.option(
    "-n",
    "--levels",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Codebooks to model.",
)
@click.option(
    "--context",
    type=click.IntRange(2),
    help="Frames that the model looks back on. [default: the preset's]",
)
@click.option(
    "--steps", type=click.IntRange(1), default=10_000, show_default=True, help="Training steps."
)
@click.option("--minutes", type=options.Number(0, min_open=True), help="Stop after this time.")
@click.option(
    "--batch", type=click.IntRange(1), default=8, show_default=True, help="Sequences per step."
)
@click.option(
    "--lr",
    type=options.Number(0, min_open=True),
    default=2e-3,
    show_default=True,
    help="Highest learning rate.",
)
@click.option(
    "--dropout",
    type=options.Number(0, 0.9),
    default=0.0,
    show_default=True,
    help="Share of what layers add that is left out at random: against learning by heart.",
)
@click.option("--seed", type=options.SEED, default=0, show_default=True, help="Random seed.")
@click.option("--model", type=FILE, help="The codec of the tokens. [default: the shipped one]")
@click.option(
    "--license",
    "licence",
    default="Apache-2.0",
    show_default=True,
    help="License string stored in the file.",
)
@options.torch_threads
@click.option("--device", help="A PyTorch device. [default: cuda if available, else cpu]")
@options.force_one
def train_lm(
    tokens: tuple[Path, ...],
    output: Path,
    run: Path | None,
    init: Path | None,
    preset: str,
    levels: int,
    context: int | None,
    steps: int,
    minutes: float | None,
    batch: int,
    lr: float,
    dropout: float,
    seed: int,
    model: Path | None,
    licence: str,
    threads: int | None,
    device: str | None,
    force: bool,
) -> None:
    """Train a language model of audio on tokens.

    TOKENS are folders that `codec tokenize` wrote, for example of the same audio cut at other
    times, which keeps the model from learning it by heart. Training uses four columns of their
    manifests: speaker (rows of one speaker are joined), tags (words), phones (START:PHONE ...,
    START in units of 10 ms) and split (rows with "validation" only measure). Ctrl-C, SIGTERM and
    --minutes save and stop. The same command continues the run to the bit, also with another
    number of --steps.
    The learning rate falls to 0 over the last quarter of the steps.
    """
    from codec.lm import need_torch

    with need_torch():
        import torch

    from codec.corpus.token_rows import TokenRows
    from codec.lm.model import config as configs
    from codec.lm.model.data import VALIDATION, kinds_of, known_tags, streams_of
    from codec.lm.model.files import read_network, write_network
    from codec.lm.model.learner import Settings
    from codec.lm.model.run import Run, hold_out
    from codec.model.location import DEFAULT_WEIGHTS
    from codec.support.atomic import check_writable

    check_writable(output, overwrite=force, source=init)
    if threads is not None:
        torch.set_num_threads(threads)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    tables = [TokenRows(folder) for folder in tokens]
    cards = [table.card for table in tables]
    card = cards[0]
    for folder, other in zip(tokens, cards, strict=True):
        if any(other[name] != card[name] for name in ("model", "vocabulary", "frame_rate")):
            raise TrainingError(f"{folder} and {tokens[0]} are tokens of different models")
    parts = [list(table) for table in tables]
    rows = [row for part in parts for row in part]
    codebooks, bits = _codec(model or DEFAULT_WEIGHTS, str(card["model"]))
    changes = {} if context is None else {"context": context}
    config = configs.preset(
        preset,
        codec=str(card["model"]),
        levels=levels,
        codebook_size=int(card["vocabulary"]),
        frame_rate=float(card["frame_rate"]),
        tags=known_tags(rows),
        **changes,
    )
    held_rows = [row for row in rows if row.get("split") == VALIDATION]
    streams = [
        stream
        for part in parts
        for stream in streams_of([row for row in part if row.get("split") != VALIDATION], config)
    ]
    kinds = kinds_of(rows)
    held = hold_out(streams_of(held_rows, config), config, bits)
    del rows, held_rows, parts, tables
    folder = run or cache_folder(tokens, preset)
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(batch=batch, steps=steps, lr=lr, dropout=dropout, seed=seed)
    training = Run(folder, config, settings, streams, codebooks=codebooks, device=device)
    if init is not None and training.step == 0:
        training.learner.begin_with(read_network(init)[0])
    count = sum(parameter.numel() for parameter in training.learner.exact.parameters())
    hours = sum(stream.frames for stream in streams) / config.frame_rate / 3600
    _say(
        f"{count / 1e6:.1f} M parameters, {hours:.2f} hours, from step {training.step} in {folder}"
    )
    finished = training.train(held, minutes=minutes, say=_say)
    extra = {"licence": licence, "steps": str(training.step), "hours": f"{hours:.2f}"}
    size = write_network(training.learner.exact, output, kinds=kinds, extra=extra, overwrite=True)
    click.echo(f"{output}: {size / 1e6:.1f} MB" + ("" if finished else ", of an unfinished run"))


_SECONDS = options.Number(0, 24 * 3600, min_open=True)


def _sampling(
    temperature: float | None, top_p: float, guidance: float, guides: str
) -> Callable[[Command], Command]:
    """The options of generation, with these defaults."""

    def added(command: Command) -> Command:
        for option in (
            options.quiet,
            options.force_one,
            options.one_thread,
            options.model,
            click.option(
                "--weights", type=FILE, help="A language model. [default: the shipped one]"
            ),
            click.option(
                "--seed",
                type=options.SEED,
                default=0,
                show_default=True,
                help="Another seed makes other audio.",
            ),
            click.option(
                "--top-p",
                type=options.Number(0, 1, min_open=True),
                default=top_p,
                show_default=True,
                help="Draw among the likeliest codes, up to this probability.",
            ),
            click.option(
                "--top-k",
                type=click.IntRange(1),
                help="Draw among the K likeliest codes. [default: all]",
            ),
            click.option(
                "--guidance",
                type=options.Number(0, 100),
                default=guidance,
                show_default=True,
                help=f"How closely {guides} followed; other values than 1 take longer.",
            ),
            click.option(
                "--temperature",
                type=options.Number(0),
                default=temperature,
                show_default=True,
                help="How freely codes are drawn."
                + (
                    " [default: 0.4 for speech with words, else 0.9]" if temperature is None else ""
                ),
            ),
            click.option(
                "-o",
                "--output",
                type=TEXT,
                required=True,
                help="Audio file, or - for standard output.",
            ),
        ):
            command = option(command)
        return command

    return added


@click.command("continue")
@click.argument("prompt", type=FILE)
@click.option("--seconds", type=_SECONDS, default=10.0, show_default=True, help="Seconds to add.")
@click.option("--skip-prompt", is_flag=True, help="Write only what follows the prompt.")
@click.option(
    "--adapt",
    type=click.IntRange(0),
    help="Steps in which the model first learns from PROMPT; three take about a second, and 0"
    " leaves it as it is. [default: 8 for speech, else 3]",
)
@options.postfilter
@options.enhance_usually
@click.option("--no-words", is_flag=True, help="Let speech go on without phones of English.")
@click.option("--voices", type=FILE, help="A file that has phones. [default: the shipped one]")
@_sampling(temperature=None, top_p=0.95, guidance=2.0, guides="the prompt is")
def continue_(
    prompt: Path,
    seconds: float,
    skip_prompt: bool,
    adapt: int | None,
    postfilter: bool,
    enhance: bool | None,
    no_words: bool,
    voices: Path | None,
    **chosen: Any,
) -> None:
    """Go on with a recording of speech or music.

    The output is PROMPT and what may follow it, in mono at the codec's sample rate. The last
    seconds of PROMPT count: about 3 s of one voice or one piece of music are enough. The model
    learns from them before it goes on, which keeps the voice. Speech goes on with the sounds of
    English, but its words mean nothing. With -o - a WAV goes to standard output while it is made.
    The same seed gives the same audio on the same machine.
    """
    lm, codec = _models(chosen, prompt)
    from codec.cli.sound import chosen_post, learning, read_mono
    from codec.lm.continuation import LEARNED, PRIOR, Manner, attuned, continued
    from codec.lm.cuts import cuts_of
    from codec.lm.speech.speak import SPEECH
    from codec.lm.speech.voices import Speech

    post = chosen_post(codec, postfilter=postfilter, enhance=enhance)
    phones = None if no_words else Speech.load(voices or SPEECH).phones
    mono, rate = read_mono(prompt)
    codes = codec.encode(mono, rate, n_codebooks=lm.config.levels).codes[0]
    frames = _frames(lm, seconds)
    manner = Manner(
        chosen["temperature"],
        chosen["top_k"],
        chosen["top_p"],
        prompt_guidance=chosen["guidance"],
        seed=chosen["seed"],
    )
    tags = lm.kind_of(codes, PRIOR)
    if adapt != 0:
        cuts = cuts_of(codec, mono, rate, lm.config.levels, LEARNED)
        with Progress(shown=not chosen["quiet"]) as progress:
            lm = attuned(lm, cuts, tags, adapt, learning(progress))
    made = continued(lm, codes, frames, phones, manner, tags)
    _write(codec, codes, made, frames, chosen, skip_prompt, post)


@click.command()
@click.argument("words")
@click.option(
    "--seconds", type=_SECONDS, default=30.0, show_default=True, help="Length in seconds."
)
@_sampling(temperature=0.95, top_p=0.95, guidance=3.0, guides="the words are")
def compose(words: str, seconds: float, **chosen: Any) -> None:
    """Make music or sounds from WORDS, such as "calm piano".

    An unknown word is an error that lists the known ones. The output is as for `codec
    continue`, but not improved by a second network.
    """
    lm, codec = _models(chosen)
    from codec.lm.model.language_model import Conditions
    from codec.lm.model.tags import complete, read_words

    tags, factor = read_words(words, lm.config.tags)
    chosen["temperature"] *= factor
    asked = Conditions(tags=complete(tags, lm.kinds))
    named = ("temperature", "top_k", "top_p", "guidance", "seed")
    sampling = {name: chosen[name] for name in named}
    frames = _frames(lm, seconds)
    made = lm.generate(None, asked, frames, **sampling)
    _write(codec, None, made, frames, chosen)


def continuing(weights: Path | None) -> tuple[int, Callable[[Turn], Iterator[Codes]]]:
    """Return the codebooks of a reply that goes on with what was said, and the callback for it."""
    from codec import lm

    with lm.need_torch():
        import torch

    from codec.lm.duplex.answers import continuation
    from codec.lm.speech.speak import SPEECH
    from codec.lm.speech.voices import Speech

    torch.set_num_threads(1)
    found = lm.load(weights)
    return found.config.levels, continuation(found, phones=Speech.load(SPEECH).phones)


def _models(chosen: dict[str, Any], source: Path | None = None) -> tuple[LanguageModel, Codec]:
    """Load both models, once the output is known to be writable. Raises CodecError.

    source: of the prompt, which must stay.
    """
    from codec import lm

    with lm.need_torch():
        import torch

    from codec.api import load
    from codec.cli.sound import check_output

    check_output(chosen["output"], overwrite=chosen["force"], source=source)
    torch.set_num_threads(chosen["threads"])
    found, codec = lm.load(chosen["weights"]), load(chosen["model"])
    if found.config.codec and found.config.codec != codec.model_id.hex():
        raise ModelError(
            f"the language model is of the codec {found.config.codec}, not {codec.model_id.hex()}"
        )
    return found, codec


def _frames(lm: LanguageModel, seconds: float) -> int:
    return max(1, round(seconds * lm.config.frame_rate))


def _write(
    codec: Codec,
    prompt: Codes | None,
    made: Iterator[Codes],
    frames: int,
    chosen: dict[str, Any],
    skipped: bool = False,
    post: Wanted | None = None,
) -> None:
    """Write `prompt` and the `frames` that follow; skipped: without the prompt."""
    from codec.cli.sound import check_output, write_frames

    before = [] if prompt is None else [prompt]
    n_before = sum(codes.shape[1] for codes in before)
    write_frames(
        codec,
        itertools.chain(before, made),
        check_output(chosen["output"], overwrite=chosen["force"]),
        overwrite=chosen["force"],
        quiet=chosen["quiet"],
        n_frames=frames + n_before,
        skip=n_before * codec.config.hop_length if skipped else 0,
        post=post,
    )


def cache_folder(tokens: Sequence[Path], preset: str) -> Path:
    """Name the folder of a run on `tokens` below $XDG_CACHE_HOME/codec."""
    paths = [path.resolve() for path in tokens]
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(b"\0".join(map(os.fsencode, paths))).hexdigest()[:8]
    return base / "codec" / "train-lm" / f"{paths[0].name}-{digest}-{preset}"


def _say(line: str) -> None:
    click.echo(line, err=True)


def _codec(weights: Path, wanted: str) -> tuple[Any, Any]:
    """The codebooks of the tokens' codec as a tensor, and the cost of codes by its prior."""
    import torch

    from codec.coders import entropy
    from codec.coders.base import CODER_IDS
    from codec.model.weights_file import WeightsFile

    file = WeightsFile(weights)
    if file.model_id.hex() != wanted:
        raise TrainingError(
            f"the tokens are of the model {wanted}, {weights.name} is {file.model_id.hex()}:"
            " name the model of the tokens by --model"
        )
    codebooks = torch.from_numpy(file.codebooks.copy())
    try:
        prior = entropy.load(weights, CODER_IDS["best"])
    except ModelError:
        return codebooks, None
    return codebooks, lambda codes: prior.costs(codes[None])[1][0]
