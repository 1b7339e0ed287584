"""Find the codecs to compare ours with. A codec that is not available says so and is skipped."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from codec.benchmark.peers import (
    adapters,
    codec2,
    ffmpeg,
    lyra,
    nolace,
    opus,
    own,
    pcm,
)
from codec.benchmark.peers.base import Encoded, Peer
from codec.errors import PeerError

__all__ = ["PEERS", "Encoded", "Options", "Peer", "PeerError", "choose", "make"]


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of some of the codecs."""

    model: str = "default"  # our weights
    effort: str = "best"
    lyra: Path | None = None  # folder of its models
    opus_ml: Path | None = None  # folder where npm installed NoLACE


PEERS: Mapping[str, Callable[[Options], Peer]] = MappingProxyType(
    {
        "codec": lambda options: own.Own(options.model, options.effort),
        "codec-beam": lambda options: own.Own(options.model, options.effort, own.BEAM),
        "codec-refine": lambda options: own.Own(options.model, options.effort, own.REFINE),
        "codec-enhance": lambda options: own.Own(options.model, options.effort, enhance=True),
        "codec-refine-enhance": lambda options: own.Own(
            options.model, options.effort, own.REFINE, enhance=True
        ),
        "pcm": lambda _: pcm.Pcm(),
        "opus": lambda _: opus.Opus(),
        "opus-nolace": lambda options: nolace.OpusNolace(options.opus_ml),
        "lyra": lambda options: lyra.Lyra(options.lyra),
        "codec2": lambda _: codec2.Codec2(),
        "speex": lambda _: ffmpeg.speex(),
        "mp3": lambda _: ffmpeg.mp3(),
        "aac": lambda _: ffmpeg.aac(),
        "encodec": lambda _: adapters.encodec(),
        "dac": lambda _: adapters.dac(),
        "mimi": lambda _: adapters.mimi(),
        "snac": lambda _: adapters.snac(),
        "xcodec2": lambda _: adapters.xcodec2(),
    }
)


def make(name: str, options: Options) -> Peer:
    """Make the codec `name`. Raises PeerError if it is unknown or not available."""
    if name not in PEERS:
        raise PeerError(f"no codec {name!r}; choose from {', '.join(PEERS)}")
    return PEERS[name](options)


def choose(names: Sequence[str], options: Options) -> tuple[list[Peer], dict[str, str]]:
    """Return the available codecs of `names`, and why each of the others is not.

    Raises PeerError on an unknown name.
    """
    found, missing = [], {}
    for name in dict.fromkeys(names):
        if name not in PEERS:
            make(name, options)
        try:
            found.append(make(name, options))
        except PeerError as error:
            missing[name] = str(error)
    return found, missing
