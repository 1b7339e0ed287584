"""What a codec has to offer to be compared."""

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
    """data: what `decode` needs, in the container that people use. payload_bits: of the coded audio
    alone, without the container's headers, checksums and padding."""

    data: bytes
    payload_bits: int

    @property
    def container_bits(self) -> int:
        return 8 * len(self.data)


class Peer(Protocol):
    """A codec at its settings. Made anew in each process that uses it.

    name: as on the command line. title: with what tells versions apart. kinds: None, or the kinds
    of audio it is made for. settings: those compared by default, each a number of kbit/s or the
    name that the codec gives it. sample_rate: of the audio that `encode` takes and `decode` gives.
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
        """`audio`, float32 [samples] at `sample_rate`, coded. Raises PeerError."""

    def decode(self, data: bytes, setting: str) -> Audio:
        """float32 [samples] at `sample_rate`, of about the length that was given to `encode`.

        A delay may be left in it. Raises PeerError.
        """


def needs(tool: str, package: str) -> str:
    """The path of the program `tool`. Raises PeerError naming the package that has it."""
    path = shutil.which(tool)
    if path is None:
        raise PeerError(f"{tool} is not installed (Debian: {package})")
    return path


def run(command: Sequence[str | Path], stdin: bytes = b"") -> bytes:
    """Standard output of `command`. Raises PeerError with the last line of its standard error."""
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
    """The number of kbit/s that `setting` is. Raises PeerError."""
    try:
        value = float(setting)
    except ValueError:
        value = 0.0
    if not 0 < value < 10_000:
        raise PeerError(f"{peer}: {setting!r} is not a number of kbit/s")
    return value
