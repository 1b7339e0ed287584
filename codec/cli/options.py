"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from codec.cli.paths import TEXT

if TYPE_CHECKING:
    from codec.engine.post import Wanted

Command = TypeVar("Command", bound=Callable[..., object])


class Number(click.FloatRange):
    """Take a number in a range. NaN and infinity lie in none, also if it has no bounds."""

    def _describe_range(self) -> str:
        return super()._describe_range() if (self.min, self.max) != (None, None) else ""

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> Any:
        """Return `value` as `click.FloatRange` does. Raises UsageError unless it is finite."""
        number = super().convert(value, parameter, context)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", parameter, context)
        return number


SEED = click.IntRange(0, 2**63 - 1)  # what PyTorch and NumPy take everywhere


force = click.option("-f", "--force", is_flag=True, help="Overwrite outputs that exist.")
force_one = click.option("-f", "--force", is_flag=True, help="Overwrite an output that exists.")
quiet = click.option("-q", "--quiet", is_flag=True, help="Hide the progress bar.")
model = click.option(
    "--model",
    type=TEXT,
    default="default",
    show_default=True,
    help="A model of `codec models`, or a .safetensors file.",
)
device = click.option(
    "--device",
    metavar="DEVICE",
    help="Run the network on cuda or cuda:1, a GPU: the same tokens. [default: cpu]",
)
beam = click.option(
    "--beam",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Paths of the search for the codes: 16 come closer to the audio, and take longer.",
)
refine = click.option(
    "--refine",
    type=click.IntRange(0, 1000),
    default=0,
    show_default=True,
    metavar="N",
    help="Improve the codes by N steps through the decoder: 20 sound closer, best with --beam 16.",
)
postfilter = click.option(
    "--postfilter/--no-postfilter",
    default=False,
    show_default=True,
    help="Lower the noise between the harmonics of voices.",
)
enhance = click.option(
    "--enhance/--no-enhance",
    default=False,
    show_default=True,
    help="Improve the sound by a second network.",
)
enhance_usually = click.option(
    "--enhance/--no-enhance",
    default=None,
    help="Improve the sound by a second network. [default: where the model has one]",
)


def post_of(postfilter: bool, enhance: bool | None) -> Wanted | None:
    """Return what is to follow the decoder; enhance: None if that is as usual, unless there is a
    postfilter. Raises click.UsageError if it is both."""
    if enhance is None:
        return "postfilter" if postfilter else "usual"
    if postfilter and enhance:
        raise click.UsageError("choose --postfilter or --enhance, not both")
    from codec.engine.post import wanted

    return wanted(postfilter=postfilter, enhance=enhance)


torch_threads = click.option(
    "--threads", type=click.IntRange(1), help="CPU threads. [default: PyTorch's choice]"
)
# A frame is so little work that threads wait for each other, for long where cores are busy.
one_thread = click.option(
    "--threads", type=click.IntRange(1), default=1, show_default=True, help="CPU threads."
)


def threads(purpose: str) -> Callable[[Command], Command]:
    """Make the option -t; purpose: the first words of its help."""
    return click.option(
        "-t", "--threads", type=click.IntRange(1), help=f"{purpose}. [default: all CPU cores]"
    )


def at_most_one(**given: bool) -> None:
    """Raises UsageError if more than one of the options of these names is given."""
    names = [f"--{name}" for name, is_given in given.items() if is_given]
    if len(names) > 1:
        raise click.UsageError(f"choose {names[0]} or {names[1]}, not both")
