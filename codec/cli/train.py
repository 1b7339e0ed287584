"""The commands that prepare audio, train models and export weights."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from codec.cli import options
from codec.cli.errors import filling
from codec.cli.paths import FILE, PATH
from codec.errors import TrainingError
from codec.model.config import ModelConfig
from codec.model.limits import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from codec.support.packages import needed
from codec.support.progress import Progress
from codec.training.phones import PhoneTable, write_labels
from codec.training.prepare import INDEX_NAME, PreparedAudio, open_prepared
from codec.training.prepare import prepare as prepare_audio

_minutes = options.Number(0, min_open=True)


@click.command()
@click.argument("data", type=PATH)
@click.option("-o", "--output", type=PATH, help="Output folder. [default: below ~/.cache/codec]")
@click.option("--kind", help="Put all files into one group. [default: by first folder level]")
@click.option("-j", "--jobs", type=click.IntRange(1), help="Processes. [default: one a core]")
@click.option(
    "--rate",
    type=click.IntRange(MIN_SAMPLE_RATE, MAX_SAMPLE_RATE),
    default=ModelConfig().sample_rate,
    show_default=True,
    help="Sample rate of the model, in Hz.",
)
@click.option("--stereo", is_flag=True, help="Keep two channels, for a model that codes both.")
@click.option("--phones", type=FILE, help="A table of aligned phones, for phonetic_weight.")
def prepare(
    data: Path,
    output: Path | None,
    kind: str | None,
    jobs: int | None,
    rate: int,
    stereo: bool,
    phones: Path | None,
) -> None:
    """Decode a folder of audio once for training: mono, at the model's sample rate.

    --stereo is for a model with channels = 2. It keeps the first two channels of a file; a file of
    one has it in both.

    Reads the formats that `codec compress` reads. The same command continues an interrupted
    preparation. Files that are no audio, damaged or silent are named and left out. The exit code is
    1 if a file or folder could not be read, though the rest is prepared.

    --phones adds labels of phones beside the audio. The table is tab-separated with the columns
    path, offset, duration (seconds) and phones, which is START:PHONE ..., START in units of 10 ms
    from the clip's start.
    """
    wanted = (rate, 2 if stereo else 1)
    # Decoding may take hours: a table that is bad is an error before.
    table = None if phones is None else PhoneTable(phones)
    folder = output or cache_folder(data, *wanted)
    prepared = _prepare(data, folder, wanted, kind, jobs, table)
    click.echo(
        f"{len(prepared.files)} files, {prepared.seconds / 3600:.2f} hours in {prepared.folder}"
        + (f"; {len(prepared.skipped)} files skipped" if prepared.skipped else "")
    )
    if table is not None:
        labelled = write_labels(prepared, table)
        click.echo(f"{labelled / 3600:.2f} hours have phones")
    if prepared.unread:
        what = "file or folder" if prepared.unread == 1 else "files or folders"
        click.echo(f"codec: {prepared.unread} {what} could not be read", err=True)
        sys.exit(1)


@click.command()
@click.argument("data", type=PATH)
@click.option("--run", type=PATH, default="run", show_default=True, help="Folder of the run.")
@click.option("--config", type=FILE, help="Settings in TOML or JSON.")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting; may be repeated."
)
@click.option("--steps", type=click.IntRange(1), help="Stop when the run has this many steps.")
@click.option("--minutes", type=_minutes, help="Stop after this many minutes.")
@click.option(
    "--decay-steps", type=click.IntRange(1), help="Decay over this many steps, then stop."
)
@click.option("--decay-minutes", type=_minutes, help="The same in minutes.")
@click.option("--eval", "eval_folder", type=PATH, help="Audio to evaluate on during training.")
@click.option("--init", type=FILE, help="Begin a new run with these weights or this checkpoint.")
@click.option("--resume-from", type=PATH, help="Begin a new run where this handover ended.")
@click.option("--handover", type=PATH, help="Write a handover to this folder at the end.")
@click.option("--handover-moments", is_flag=True, help="Include the optimisers' moments in it.")
@options.torch_threads
@click.option("--device", help="A PyTorch device. [default: cuda if available, else cpu]")
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
    resume_from: Path | None,
    handover: Path | None,
    handover_moments: bool,
    threads: int | None,
    device: str | None,
) -> None:
    """Train a model on a folder of audio, or continue a run.

    DATA is a folder of audio, which is prepared on first use, or the output of `codec prepare`.
    Ctrl-C and SIGTERM save and stop; the same command continues the run to the bit. Settings are
    the fields of codec.training.config.TrainConfig; model.NAME sets a field of
    codec.model.config.ModelConfig for a new run.

    --decay-steps and --decay-minutes train a branch: the learning rate falls, the result is
    decayed.pt, and the run itself can continue later from where the branch began.

    A handover is a few small files without pickle that continue the run on another machine.

    `torchrun --nproc-per-node N -m codec -- train ...` shares each batch among N processes, one
    GPU each where there are GPUs.
    """
    _need_torch()
    import torch

    from codec.nn.backend import available_device
    from codec.training import distributed
    from codec.training.config import read_changes
    from codec.training.loop import Until, model_of_run
    from codec.training.loop import train as run_training

    if decay_steps is not None and decay_minutes is not None:
        raise click.UsageError("choose --decay-steps or --decay-minutes, not both")
    if init is not None and resume_from is not None:
        raise click.UsageError("choose --init or --resume-from, not both")
    if handover_moments and handover is None:
        raise click.UsageError("--handover-moments needs --handover")
    if run.exists() and not run.is_dir():
        raise TrainingError(f"{run}: a run is a folder, and this is none")
    if device is not None:
        available_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    with distributed.joined(device) as device:
        with distributed.one_first():
            changes = read_changes(config, settings)
            prepared = _prepared(data, lambda: model_of_run(run, changes, resume_from))
        run_training(
            prepared,
            run,
            changes,
            Until(steps, minutes, decay_steps, decay_minutes),
            eval_folder=eval_folder,
            init=init,
            resume_from=resume_from,
            handover=handover,
            handover_moments=handover_moments,
            device=device,
            say=lambda line: click.echo(line, err=True),
        )


@click.command()
@click.argument("checkpoint", type=FILE)
@click.option("-o", "--output", type=FILE, required=True, help="A .safetensors file.")
@click.option("--raw", is_flag=True, help="Export the last weights instead of their average.")
@click.option("-n", "--codebooks", type=click.IntRange(1), help="Keep only the first N codebooks.")
@click.option(
    "--license",
    "licence",
    default="Apache-2.0",
    show_default=True,
    help="License string stored in the file.",
)
@options.force_one
def export(
    checkpoint: Path, output: Path, raw: bool, codebooks: int | None, licence: str, force: bool
) -> None:
    """Write a checkpoint's weights for use: float16 safetensors with metadata."""
    _need_torch()
    from codec.training.export import export_weights

    size = export_weights(
        checkpoint, output, raw=raw, n_codebooks=codebooks, licence=licence, overwrite=force
    )
    click.echo(f"{output}: {size / 1e6:.1f} MB")


@click.command("train-prior")
@click.argument("data", type=PATH)
@click.option("--model", type=FILE, help="Weights to train for. [default: the shipped weights]")
@click.option(
    "-o", "--output", type=FILE, help="File to write. [default: beside the weights, .entropy]"
)
@click.option("--minutes", type=_minutes, default=40, show_default=True, help="Training time.")
@click.option("--seed", type=options.SEED, default=0, show_default=True, help="Random seed.")
@options.torch_threads
@options.force_one
def train_prior(
    data: Path,
    model: Path | None,
    output: Path | None,
    minutes: float,
    seed: int,
    threads: int | None,
    force: bool,
) -> None:
    """Train a model's entropy coders: the tables for `--effort fast`, the prior for `best`.

    DATA is as for `codec train`. It is encoded once for each model; the codes stay below ~/.cache.
    """
    _need_torch()
    import torch

    from codec.coders.data import SUFFIX
    from codec.model.location import DEFAULT_WEIGHTS
    from codec.model.weights_file import WeightsFile
    from codec.support.atomic import check_writable
    from codec.training.entropy.train import train_entropy

    if threads is not None:
        torch.set_num_threads(threads)
    weights = model or DEFAULT_WEIGHTS
    target = output or weights.with_suffix(SUFFIX)
    check_writable(target, overwrite=force, source=weights)
    prepared = _prepared(data, lambda: WeightsFile(weights).config)
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


@click.command("train-enhancer")
@click.argument("data", type=PATH)
@options.model
@click.option(
    "-o", "--output", type=FILE, help="File to write. [default: beside the weights, .enhancer]"
)
@click.option("--minutes", type=_minutes, help="Training time. [default: 50 without --steps]")
@click.option("--steps", type=click.IntRange(1), help="Train for this many steps at most.")
@click.option("--config", type=FILE, help="Settings in TOML or JSON.")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting; may be repeated."
)
@click.option("--init", type=FILE, help="Begin with this enhancer or this checkpoint.")
@click.option(
    "--checkpoint", type=FILE, help="Also write weights and critics here, for another --init."
)
@click.option("--seed", type=options.SEED, default=0, show_default=True, help="Random seed.")
@click.option("--device", default="cpu", show_default=True, help="Where the network learns.")
@options.torch_threads
@options.force_one
def train_enhancer(
    data: Path,
    model: str,
    output: Path | None,
    minutes: float | None,
    steps: int | None,
    config: Path | None,
    settings: tuple[str, ...],
    init: Path | None,
    checkpoint: Path | None,
    seed: int,
    device: str,
    threads: int | None,
    force: bool,
) -> None:
    """Train a model's enhancer, the second stage of its decoder.

    DATA is as for `codec train`, and has speech: files with "speech" in their path, unless the
    setting critic_files says otherwise. Settings are the fields of
    codec.training.enhancer.config.EnhancerTraining; model.NAME sets a field of
    codec.model.enhancer_config.EnhancerConfig.

    All audio is coded first, which may take minutes that --minutes does not count. The learning
    rate falls at the end, to which --minutes and --steps set the time. Ctrl-C and
    SIGTERM end the training early, and write what it has learned until then. A checkpoint has no
    moments of the optimisers: --init begins a new schedule with it. An enhancer of fewer blocks or
    hidden units grows to the settings' dimensions. Processes that torchrun starts share each step.
    """
    _need_torch()
    import torch

    from codec.engine.enhancer import SUFFIX
    from codec.model.location import weights_path
    from codec.model.weights_file import WeightsFile
    from codec.training import distributed
    from codec.training.config import read_changes
    from codec.training.enhancer.train import Until, check, train

    weights = weights_path(model)
    target = output or weights.with_suffix(SUFFIX)
    if threads is not None:
        torch.set_num_threads(threads)
    if minutes is None and steps is None:
        minutes = 50
    changes = {"seed": seed} | read_changes(config, settings)
    check(weights, target, init, checkpoint, changes, overwrite=force)
    with contextlib.ExitStack() as stack:
        # Each of several processes has a GPU of its own.
        any_gpu = None if device == "cuda" else device
        device = stack.enter_context(distributed.joined(any_gpu)) or device
        with distributed.one_first():
            prepared = _prepared(data, lambda: WeightsFile(weights).config)
        first = distributed.rank() == 0
        bar = stack.enter_context(Progress(1, shown=first))
        done = 0.0

        def show(what: str, share: float, seconds: float) -> None:
            nonlocal done
            bar.advance(what, share - done, seconds)
            done = share

        trained = train(
            prepared,
            weights,
            target,
            Until(steps, minutes),
            changes=changes,
            init=init,
            checkpoint=checkpoint,
            threads=threads,
            device=device,
            overwrite=force,
            progress=show,
            say=bar.say,
        )
    if first:
        early = "" if trained.finished else ", stopped early"
        click.echo(f"{target}: {trained.size / 1e6:.1f} MB after {trained.steps} steps{early}")


def cache_folder(
    data: Path, sample_rate: int = ModelConfig().sample_rate, channels: int = 1
) -> Path:
    """Name the folder below $XDG_CACHE_HOME/codec in which `data` is prepared."""
    path = data.resolve()
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    usual = (sample_rate, channels) == (ModelConfig().sample_rate, 1)
    return base / "codec" / f"{path.name}-{digest}{'' if usual else f'-{sample_rate}x{channels}'}"


def _prepared(data: Path, model: Callable[[], ModelConfig]) -> PreparedAudio:
    """Open `data` if it is prepared audio; otherwise prepare it in the cache for `model`."""
    if (data / INDEX_NAME).is_file():
        return open_prepared(data)
    config = model()
    wanted = (config.sample_rate, config.channels)
    return _prepare(data, cache_folder(data, *wanted), wanted, None)


def _prepare(
    data: Path,
    output: Path,
    wanted: tuple[int, int],
    kind: str | None,
    jobs: int | None = None,
    table: PhoneTable | None = None,
) -> PreparedAudio:
    """Prepare `data` in `output` with a bar, which appears at the first file that needs work.

    wanted: the sample rate and the number of channels. table: of phones, which must fit `data`.
    """
    rate, channels = wanted
    with filling(output), Progress() as bar:
        return prepare_audio(
            data,
            output,
            rate,
            channels=channels,
            kind=kind,
            jobs=jobs,
            progress=bar.follow(),
            report=bar.say,
            check=table.check_fits if table else lambda names: None,
        )


def _need_torch() -> None:
    with needed("torch", TrainingError("training needs PyTorch: pip install 'codec[train]'")):
        import torch  # noqa: F401
