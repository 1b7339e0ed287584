"""The command that fits the scale of a model's latents."""

from __future__ import annotations

from pathlib import Path

import click

from codec.audio.formats import READ_SUFFIXES
from codec.cli.paths import TEXT
from codec.errors import AudioError, BackendError
from codec.files.plan import readings
from codec.model.latent_scale import SUFFIX
from codec.support.progress import Progress
from codec.support.workers import Workers, usable_cores


@click.command("fit-latents")
@click.argument("inputs", nargs=-1, required=True, type=TEXT)
@click.option(
    "--model",
    type=TEXT,
    default="default",
    show_default=True,
    help="A model of `codec models`, or a .safetensors file.",
)
@click.option(
    "-o", "--output", type=TEXT, help=f"File to write. [default: beside the weights, {SUFFIX}]"
)
@click.option("-t", "--threads", type=click.IntRange(1), help="Threads. [default: all CPU cores]")
@click.option("-f", "--force", is_flag=True, help="Overwrite an output that exists.")
@click.option("-q", "--quiet", is_flag=True, help="Hide the progress bar.")
def fit_latents(
    inputs: tuple[str, ...],
    model: str,
    output: str | None,
    threads: int | None,
    force: bool,
    quiet: bool,
) -> None:
    """Measure the scale of a model's latents on audio files and folders.

    Writes the mean and the standard deviation of each dimension beside the weights, where
    `encode_latents` and `decode_latents` find them.
    """
    from codec.api import load
    from codec.files.fit_latents import fit_latent_scale
    from codec.model.location import weights_path
    from codec.support.atomic import check_writable

    weights = weights_path(model)
    target = Path(output) if output else weights.with_suffix(SUFFIX)
    check_writable(target, overwrite=force, source=weights)
    codec = load(model)
    if (streaming := codec.backend.streaming) is None:
        raise BackendError("latents need the native backend")
    jobs, failures = readings(inputs, READ_SUFFIXES)
    if lost := [failure for failure in failures if failure.lost]:
        raise AudioError(f"{lost[0].name}: {lost[0].message}")
    sources = list(dict.fromkeys(job.source for job in jobs if job.source is not None))
    sizes = {job.source: job.n_bytes for job in jobs}
    with (
        Workers(threads or usable_cores()) as workers,
        Progress(sum(sizes.values()), shown=not quiet) as bar,
    ):
        at: dict[Path, float] = {}

        def report(source: Path, seconds: float) -> None:
            started = source not in at
            bar.advance(source.name, sizes[source] if started else 0, seconds - at.get(source, 0.0))
            at[source] = seconds

        scale = fit_latent_scale(streaming, sources, workers, report)
    scale.save(target, codec.model_id, overwrite=force)
    click.echo(f"{target}: {sum(at.values()) / 3600:.2f} hours of audio")
