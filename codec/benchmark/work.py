"""Do one measurement, a clip through a codec at a setting, in a process of a run."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import signal
import threading
import warnings
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from codec.audio import fit, resample, write_audio
from codec.benchmark.clips import SAMPLE_RATE, Source, read_clip
from codec.benchmark.peers import Options, Peer, make
from codec.errors import CodecError, PeerError
from codec.quality import measure
from codec.quality.pair import Audio
from codec.support.atomic import abandon, replacing

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclasses.dataclass(frozen=True)
class Unit:
    """A measurement to do. key: changes with everything that the result depends on."""

    key: str
    source: Source
    codec: str
    setting: str
    metrics: tuple[str, ...]
    decoded: Path  # where its decoded audio goes


@dataclasses.dataclass(frozen=True)
class Result:
    """The result of a measurement.

    delay: in seconds. failed: the measures without a value, and why. error: instead of everything
    else if the codec failed.
    """

    key: str
    clip: str
    kind: str
    codec: str
    setting: str
    kbps: float = 0.0
    container_kbps: float = 0.0
    seconds: float = 0.0
    delay: float = 0.0
    values: Mapping[str, float] = dataclasses.field(default_factory=dict)
    failed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    error: str | None = None


def start_process(ending: Connection) -> None:
    """Keep a worker process to one thread, and quiet. It ends at once, and leaves no half-written
    file, when the other end of `ending` is closed, as it is when the run's own process ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all
    threading.Thread(target=_end_with, args=(ending,), daemon=True).start()
    for name in ONE_THREAD:
        os.environ[name] = "1"
    warnings.filterwarnings("ignore")  # libraries warn about themselves once per process and line


def _end_with(ending: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        ending.recv()
    abandon()
    os._exit(1)


def work(unit: Unit, options: Options) -> Result:
    """Encode, decode and measure; never raises a CodecError."""
    named = Result(unit.key, unit.source.name, unit.source.kind, unit.codec, unit.setting)
    try:
        audio = _clip(unit.source)
        peer = _peer(unit.codec, options)
        encoded = peer.encode(resample(audio, SAMPLE_RATE, peer.sample_rate), unit.setting)
        decoded = at_rate(peer.decode(encoded.data, unit.setting), peer.sample_rate, len(audio))
        if not np.isfinite(decoded).all():
            raise PeerError(f"{unit.codec} decoded samples that are not finite")
        keep(decoded, unit.decoded)
    except CodecError as error:
        return dataclasses.replace(named, error=str(error))
    except Exception as error:  # of a codec's library: the others go on
        return dataclasses.replace(named, error=f"{type(error).__name__}: {error}")
    failed: dict[str, str] = {}
    found = measure(
        audio,
        decoded,
        SAMPLE_RATE,
        kind=unit.source.kind,
        names=unit.metrics,
        text=unit.source.text,
        clip=unit.source.name,
        failed=failed,
    )
    seconds = len(audio) / SAMPLE_RATE
    return dataclasses.replace(
        named,
        kbps=encoded.payload_bits / seconds / 1000,
        container_kbps=encoded.container_bits / seconds / 1000,
        seconds=seconds,
        delay=found.delay,
        values=found.values,
        failed=failed,
    )


def at_rate(decoded: Audio, sample_rate: int, n_samples: int) -> Audio:
    """Return `decoded` at SAMPLE_RATE, cut or padded with silence to `n_samples`."""
    audio = resample(decoded, sample_rate, SAMPLE_RATE)
    fitted: Audio = fit(audio[None], n_samples)[0]
    return fitted


def keep(audio: Audio, path: Path) -> None:
    """Write `audio` as FLAC to `path`, completely or not at all."""
    with replacing(path, overwrite=True) as aside:
        write_audio(aside, np.clip(audio, -1, 1)[None], SAMPLE_RATE, path.suffix)


@functools.lru_cache(maxsize=8)
def _clip(source: Source) -> Audio:
    return read_clip(source)


@functools.cache
def _peer(name: str, options: Options) -> Peer:
    return make(name, options)
