"""The command that opens a page to talk to."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codec.cli import options
from codec.errors import OptionError

if TYPE_CHECKING:
    from codec.lm.duplex import Turn


@click.command()
@click.option(
    "--reply",
    default="repeat",
    metavar="repeat|continue|speak|FILE",
    help="The reply: what you said, what a language model says next, a text in a voice, or a"
    " recording.  [default: repeat]",
)
@click.option(
    "--ask",
    metavar="COMMAND",
    help="For --reply speak: a program that reads the words you said from standard input, and whose"
    " output is spoken line by line.  [default: your words are said again]",
)
@click.option(
    "--voice",
    metavar="NAME|FILE",
    help="For --reply speak: a stored voice, or a recording that the model learns from first, as"
    " in `codec speak`."
    "  [default: kathleen]",
)
@click.option(
    "--lm",
    "weights",
    type=click.Path(path_type=Path),
    help="Weights of the language model.  [default: those of the package]",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8765,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--codebooks",
    "-n",
    type=int,
    help="Codebooks of what is heard and said.  [default: 8, or those of the language model]",
)
@click.option(
    "--detector",
    type=click.Choice(["silero", "energy"]),
    help="What detects speech.  [default: silero if it is installed]",
)
@click.option(
    "--patience",
    type=options.Number(),
    metavar="SECONDS",
    help="Silence that ends your turn.  [default: 0.06; grows to 0.8 where that was too short]",
)
@options.postfilter
@options.enhance
@options.model
def converse(
    reply: str,
    ask: str | None,
    voice: str | None,
    weights: Path | None,
    host: str,
    port: int,
    codebooks: int | None,
    detector: Any,
    patience: float | None,
    postfilter: bool,
    enhance: bool,
    model: str,
) -> None:
    """Talk with a program on a page in the browser. It listens while it speaks.

    Open the printed address in a browser, press Start and speak. The reply comes when you have
    finished. If you speak while it plays, it falls silent.

    --reply speak understands English words by Whisper, which takes longer than the other replies.
    """
    from codec.api import load
    from codec.lm.duplex import Conversation, Event, TurnTaking, load_detector
    from codec.lm.duplex.answers import recording, repeat
    from codec.lm.duplex.server import serve

    post = options.post_of(postfilter, enhance)
    loaded = load(model)
    rate = loaded.config.sample_rate
    callback: Callable[[Turn], Any]
    if reply != "speak" and (ask, voice) != (None, None):
        raise OptionError("--ask and --voice belong to --reply speak")
    if reply == "speak":
        from codec.cli.speech import speaking

        levels, callback = speaking(loaded, weights, voice or "kathleen", ask)
        if codebooks not in (None, levels):
            raise OptionError(f"the language model has {levels} codebooks")
    elif reply == "continue":
        from codec.cli.language import continuing

        levels, callback = continuing(weights)
        if codebooks not in (None, levels):
            raise OptionError(f"the language model has {levels} codebooks")
    else:
        levels = 8 if codebooks is None else codebooks
        callback = repeat if reply == "repeat" else recording(Path(reply), loaded, levels)
    rules = TurnTaking()
    if patience is not None:
        if not rules.pause <= patience <= 10:
            raise OptionError(f"patience is {rules.pause:g} to 10 seconds, not {patience:g}")
        rules = TurnTaking(patience=patience, most_patience=patience, adaptive=False)

    def make(on_event: Any) -> Conversation:
        return Conversation(
            loaded, callback, n_codebooks=levels, detector=load_detector(rate, detector),
            rules=rules, on_event=on_event, postfilter=post == "postfilter",
            enhance=post == "enhancer",
        )  # fmt: skip

    heard: list[Event] = []
    make(heard.append).close()  # a mistake is an error now, not at the first visit

    gc.freeze()  # or a full collection goes through all modules and models, and a frame comes late

    def started(address: str) -> None:
        click.echo(f"open {address} in a browser; Ctrl-C stops", err=True)

    try:
        asyncio.run(serve(make, host, port, started))
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
