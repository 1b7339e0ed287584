"""The `codec` command: a table of commands, loaded when called, and errors of one line."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn

import click

from codec.cli.errors import said
from codec.cli.habits import well_behaved
from codec.errors import CodecError, CodecWarning
from codec.support.terminal import shown
from codec.support.version import __version__

# name -> (module:function, help). A command's module is imported only when that command runs,
# so no command pays for the dependencies of another.
COMMANDS = {
    "compress": ("codec.cli.files:compress", "Compress audio files to .nac files."),
    "decompress": ("codec.cli.files:decompress", "Restore audio from .nac files."),
    "info": ("codec.cli.files:info", "Check .nac files and show what they contain."),
    "verify": ("codec.cli.files:verify", "Find damage in .nac files."),
    "trim": ("codec.cli.files:trim", "Make .nac files smaller without encoding again."),
    "models": ("codec.cli.models:models", "List the models that this package has."),
    "tokenize": ("codec.cli.corpus:tokenize", "Tokenize a corpus of audio into shards."),
    "bench": ("codec.cli.benchmark:bench", "Compare codecs by bitrate and quality on your audio."),
    "report": ("codec.cli.benchmark:report", "Write an HTML page about a .nac file."),
    "speak": ("codec.cli.speech:speak", "Speak an English text in a voice."),
    "continue": ("codec.cli.language:continue_", "Go on with a recording of speech or music."),
    "compose": ("codec.cli.language:compose", "Make music or sounds from words."),
    "converse": ("codec.cli.converse:converse", "Talk with a program on a page in the browser."),
    "prepare": ("codec.cli.train:prepare", "Decode a folder of audio once, for training."),
    "train": ("codec.cli.train:train", "Train a model on a folder of audio."),
    "export": ("codec.cli.train:export", "Write the weights of a checkpoint to a model file."),
    "train-prior": ("codec.cli.train:train_prior", "Train the entropy coders of a model."),
    "train-enhancer": (
        "codec.cli.train:train_enhancer",
        "Train a second stage of a model's decoder.",
    ),
    "fit-latents": ("codec.cli.latents:fit_latents", "Measure the scale of a model's latents."),
    "train-lm": ("codec.cli.language:train_lm", "Train a language model on tokens."),
    "train-speech": (
        "codec.cli.speech:train_speech",
        "Learn durations and store voices, for speech from text.",
    ),
}


class LazyGroup(click.Group):
    """Load the commands in `COMMANDS` on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, function = COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(module), function)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda context, option, given: _version(context) if given else None,
    help="Show the version, the model and the instruction set.",
)
def cli() -> None:
    """Compress speech and music to a few kbit/s of discrete tokens, and restore them."""


def _version(context: click.Context) -> None:
    from codec.api import load

    click.echo(f"codec {__version__}")
    try:
        model = load()
    except CodecError as error:
        click.echo(f"model   not available: {error}")
        context.exit()
    config = model.config
    click.echo(
        f"model   {model.model_id.hex()}: {config.n_codebooks} codebooks of {config.codebook_size},"
        f" {config.frame_rate:g} Hz, {config.sample_rate} Hz audio"
    )
    isa = getattr(model.backend, "isa", None)
    click.echo(f"backend native, {isa}" if isa else "backend torch")
    context.exit()


def main() -> NoReturn:
    """Run the command line. Exit with 0 on success, 1 on an error, 2 on wrong usage."""
    with well_behaved(), _warnings_of_one_line():
        _run()


@contextlib.contextmanager
def _warnings_of_one_line() -> Iterator[None]:
    """Show what the library warns of as errors are shown, and not where in our source it did."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Any, category: type[Warning], *where: Any) -> None:
            if issubclass(category, CodecWarning):
                _say(str(message))
            else:
                others(message, category, *where)

        warnings.showwarning = show  # type: ignore[assignment]
        yield


def _run() -> NoReturn:
    try:
        sys.exit(cli.main(prog_name="codec", standalone_mode=False))
    except click.Abort:  # click's word for Ctrl-C
        _fail("interrupted", 130)
    except click.ClickException as error:
        # A page of our help is no message; click 8.1 shows it by itself.
        if not isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
            error.message = shown(error.message)  # type: ignore[misc]
        error.show()
        sys.exit(error.exit_code)
    except CodecError as error:
        _fail(said(error), 1)
    except BrokenPipeError:
        # The reader has gone. Keep the interpreter from failing again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        _fail(f"{name}{error.strerror or error}", 1)
    except Exception as error:
        if os.environ.get("CODEC_DEBUG"):
            raise
        kind = type(error).__name__
        _fail(f"internal error: {kind}: {error} (CODEC_DEBUG=1 shows where)", 1)


def _fail(message: str, code: int) -> NoReturn:
    _say(message)
    sys.exit(code)


def _say(message: str) -> None:
    with contextlib.suppress(OSError):  # the terminal is gone
        click.echo(f"codec: {shown(' '.join(message.split()))}", err=True)
