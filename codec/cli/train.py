"""The commands that make weights: parse, call codec.training, print."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import click

from codec.errors import TrainingError
from codec.model.config import ModelConfig
from codec.support.progress import Progress
from codec.training.prepare import INDEX_NAME, PreparedAudio, open_prepared
from codec.training.prepare import prepare as prepare_audio

_folder = click.Path(path_type=Path)
_file = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("data", type=_folder)
@click.option("-o", "--output", type=_folder, help="Where to. [default: below ~/.cache/codec]")
@click.option("--kind", help="Name all files as one group. [default: by first folder level]")
def prepare(data: Path, output: Path | None, kind: str | None) -> None:
    """Decode a folder of audio once, for training: mono, at the model's rate.

    Reads what `codec compress` reads. An interrupted preparation goes on where it stopped.
    """
    prepared = _prepare(data, output or cache_folder(data), kind)
    click.echo(
        f"{len(prepared.files)} files, {prepared.seconds / 3600:.2f} hours in {prepared.folder}"
        + (f"; {len(prepared.skipped)} files skipped" if prepared.skipped else "")
    )


@click.command()
@click.argument("data", type=_folder)
@click.option("--run", type=_folder, default="run", show_default=True, help="The run's folder.")
@click.option("--config", type=_file, help="Settings in TOML or JSON.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting; repeats.")
@click.option("--steps", type=click.IntRange(1), help="Stop when the run has this many steps.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Stop after this long.")
@click.option("--decay-steps", type=click.IntRange(1), help="Branch off: decay over these, stop.")
@click.option("--decay-minutes", type=click.FloatRange(0, min_open=True), help="In time instead.")
@click.option("--eval", "eval_folder", type=_folder, help="Audio to evaluate on now and then.")
@click.option("--init", type=_file, help="Checkpoint or weights that a new run begins with.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads. [default: PyTorch's]")
@click.option("--device", help="A PyTorch device. [default: cuda if there is one]")
def train(
    data: Path,
    run: Path,
    config: Path | None,
    settings: tuple[str, ...],
    steps: int | None,
    minutes: float | None,
    decay_steps: int | None,
    decay_minutes: float | None,
    eval_folder: Path | None,
    init: Path | None,
    threads: int | None,
    device: str | None,
) -> None:
    """Train a model on a folder of audio, or go on with a run.

    DATA is any folder of audio, prepared on first use, or the output of `codec prepare`. Ctrl-C or
    SIGTERM saves and stops; the same command goes on to the bit. Settings are the fields of
    codec.nn.training_config.TrainConfig, and model.NAME those of codec.config.ModelConfig.
    """
    _need_torch()
    import torch

    from codec.training.config import read_changes
    from codec.training.loop import Until
    from codec.training.loop import train as run_training

    if decay_steps is not None and decay_minutes is not None:
        raise click.UsageError("choose --decay-steps or --decay-minutes, not both")
    if threads is not None:
        torch.set_num_threads(threads)
    changes = read_changes(config, settings)
    ready = (data / INDEX_NAME).is_file()
    prepared = open_prepared(data) if ready else _prepare(data, cache_folder(data), None)
    run_training(
        prepared,
        run,
        changes,
        Until(steps, minutes, decay_steps, decay_minutes),
        eval_folder=eval_folder,
        init=init,
        device=device,
        say=lambda line: click.echo(line, err=True),
    )


@click.command()
@click.argument("checkpoint", type=_file)
@click.option("-o", "--output", type=_file, required=True, help="A .safetensors file.")
@click.option("--raw", is_flag=True, help="The last weights, not their average.")
@click.option("-n", "--codebooks", type=click.IntRange(1), help="The first so many alone.")
@click.option("--license", "licence", default="Apache-2.0", show_default=True, help="To record.")
@click.option("-f", "--force", is_flag=True, help="Overwrite an output that exists.")
def export(
    checkpoint: Path, output: Path, raw: bool, codebooks: int | None, licence: str, force: bool
) -> None:
    """Write the weights of a checkpoint as they ship: float16 safetensors with their metadata."""
    _need_torch()
    from codec.training.export import export_weights

    size = export_weights(
        checkpoint, output, raw=raw, n_codebooks=codebooks, licence=licence, overwrite=force
    )
    click.echo(f"{output}: {size / 1e6:.1f} MB")


@click.command("train-prior")
@click.argument("data", type=_folder)
@click.option("--model", type=_file, help="The weights to learn for. [default: the shipped ones]")
@click.option("-o", "--output", type=_file, help="[default: beside the weights, .entropy]")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=40, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--threads", type=click.IntRange(1), help="CPU threads. [default: PyTorch's]")
@click.option("-f", "--force", is_flag=True, help="Overwrite an output that exists.")
def train_prior(
    data: Path,
    model: Path | None,
    output: Path | None,
    minutes: float,
    seed: int,
    threads: int | None,
    force: bool,
) -> None:
    """Learn the entropy coders of a model: the tables of `--effort fast`, the prior of `best`.

    DATA is as for `codec train`. Its codes are made once for each model and kept below ~/.cache.
    """
    _need_torch()
    import torch

    from codec.coders.data import SUFFIX
    from codec.engine.backend import DEFAULT_WEIGHTS
    from codec.support.atomic import check_writable
    from codec.training.entropy.train import train_entropy

    if threads is not None:
        torch.set_num_threads(threads)
    weights = model or DEFAULT_WEIGHTS
    target = output or weights.with_suffix(SUFFIX)
    check_writable(target, overwrite=force)
    ready = (data / INDEX_NAME).is_file()
    prepared = open_prepared(data) if ready else _prepare(data, cache_folder(data), None)
    with Progress(round(prepared.seconds)) as bar:
        done = 0.0

        def show(name: str, so_far: float, total: float) -> None:
            nonlocal done
            bar.advance(name, so_far - done, so_far - done)
            done = so_far

        size = train_entropy(
            prepared,
            weights,
            target,
            cache_folder(data).parent,
            minutes=minutes,
            seed=seed,
            overwrite=force,
            progress=show,
            say=bar.say,
        )
    click.echo(f"{target}: {size / 1e6:.1f} MB")


def cache_folder(data: Path) -> Path:
    """Where `data` is prepared to: below $XDG_CACHE_HOME/codec, one folder for each path."""
    path = data.resolve()
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    return base / "codec" / f"{path.name}-{digest}"


def _prepare(data: Path, output: Path, kind: str | None) -> PreparedAudio:
    bar: Progress | None = None
    done = 0

    def show(name: str, so_far: int, total: int) -> None:
        nonlocal bar, done
        bar = bar or Progress(total)
        bar.advance(name, so_far - done)
        done = so_far

    try:
        return prepare_audio(
            data,
            output,
            ModelConfig().sample_rate,
            kind=kind,
            progress=show,
            report=lambda line: bar.say(line) if bar else print(line, file=sys.stderr),
        )
    finally:
        if bar is not None:
            bar.__exit__(None, None, None)


def _need_torch() -> None:
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise TrainingError("training needs PyTorch: pip install 'codec[train]'") from None
