"""Define what a codec must provide to be compared."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from codec.errors import PeerError
from codec.quality.pair import Audio

TIMEOUT = 300.0  # seconds that a tool has for one clip


@dataclasses.dataclass(frozen=True)
class Encoded:
    """Encoded audio.

    data: what `decode` needs, in the usual container. payload_bits: bits of the coded audio alone,
    without headers, checksums and padding of the container.
    """

    data: bytes
    payload_bits: int

    @property
    def container_bits(self) -> int:
        return 8 * len(self.data)


class Peer(Protocol):
    """A codec with its settings. Each process that uses it makes its own.

    name: as on the command line. title: with the version. kinds: the kinds of audio it is made for,
    or None. settings: those compared by default, each a number of kbit/s or the codec's own name.
    sample_rate: of the audio that `encode` takes and `decode` returns.
    """

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def kinds(self) -> frozenset[str] | None: ...

    @property
    def settings(self) -> Sequence[str]: ...

    @property
    def sample_rate(self) -> int: ...

    def encode(self, audio: Audio, setting: str) -> Encoded:
        """Encode `audio`, float32 [samples] at `sample_rate`. Raises PeerError."""

    def decode(self, data: bytes, setting: str) -> Audio:
        """Decode to float32 [samples] at `sample_rate`, of about the length given to `encode`.

        The result may be delayed. Raises PeerError.
        """


def needs(tool: str, package: str) -> str:
    """Find the program `tool`. Raises PeerError with the name of its package."""
    path = shutil.which(tool)
    if path is None:
        raise PeerError(f"{tool} is not installed (Debian: {package})")
    return path


def run(command: Sequence[str | Path], stdin: bytes = b"") -> bytes:
    """Run `command` and return its output. Raises PeerError with its last line of error."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            [str(part) for part in command], input=stdin, capture_output=True, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        raise PeerError(f"{name} took more than {TIMEOUT:.0f} s") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise PeerError(f"{name}: {lines[-1]}")
    return done.stdout


def kbps(setting: str, peer: str) -> float:
    """Parse `setting` as a number of kbit/s. Raises PeerError."""
    try:
        value = float(setting)
    except ValueError:
        value = 0.0
    if not 0 < value < 10_000:
        raise PeerError(f"{peer}: {setting!r} is not a number of kbit/s")
    return value
