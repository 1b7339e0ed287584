"""The commands that learn durations and voices, and speak."""

from __future__ import annotations

from pathlib import Path

import click

from codec.cli import options
from codec.cli.paths import FILE, PATH
from codec.support.progress import Progress


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
@click.option("--epochs", type=click.IntRange(1), default=8, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
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
    """Learn from tokens how long phones last, and store voices, for `codec speak`.

    TOKENS is a folder of `codec tokenize` whose rows have the column phones (START:PHONE ..., START
    in units of 10 ms) and, as far as they are known, text and speaker. Rows whose column split says
    "validation" only measure.

    --voices is tab-separated, with the columns name, speaker (as the rows spell it), licence and
    source. Each voice is 3 s of that speaker.
    """
    import torch

    from codec.corpus.token_rows import TokenRows
    from codec.lm.speech.durations import errors
    from codec.lm.speech.voices import learn, read_wanted
    from codec.support.atomic import check_writable

    check_writable(output, overwrite=force)
    if threads is not None:
        torch.set_num_threads(threads)
    wanted = read_wanted(voices) if voices is not None else []
    rows = TokenRows(tokens)
    with Progress(epochs, shown=not quiet) as progress:
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
    click.echo(f"{output}: durations, and {len(speech.voices)} voices: {', '.join(speech.voices)}")
    if held:
        found = errors(speech.durations, held, with_rate=False)
        click.echo(
            f"{len(held)} clips for validation: {found['error']:.1f} ms off (each phone's mean:"
            f" {found['baseline']:.1f} ms), correlation {found['correlation']:.2f}"
        )
