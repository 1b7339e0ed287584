"""Run other people's neural codecs by `codec.adapters`, from checkpoints in the local cache."""

from __future__ import annotations

import functools

import numpy as np

from codec.adapters import TorchAdapter, open_adapter
from codec.benchmark.peers.base import Encoded, kbps
from codec.errors import CodecError, PeerError
from codec.quality.pair import Audio


class Adapted:
    """A neural codec. Settings are numbers of codebooks or "all"; kbit/s for EnCodec.

    The payload is log2 of the codebook size for each code, without a container. Nothing is
    downloaded.

    checkpoint: on the hub, or a folder.
    """

    kinds: frozenset[str] | None = None

    def __init__(self, name: str, label: str, checkpoint: str, settings: tuple[str, ...]) -> None:
        self.name, self.settings = name, settings
        self.title = f"{label} ({checkpoint})"
        self._checkpoint = checkpoint
        try:
            assert self.adapter is not None  # so that a missing checkpoint is reported now
        except CodecError as error:
            raise PeerError(str(error)) from None

    @functools.cached_property
    def adapter(self) -> TorchAdapter:
        return open_adapter(self.name, self._checkpoint)

    @property
    def sample_rate(self) -> int:
        return self.adapter.config.sample_rate

    def encode(self, audio: Audio, setting: str) -> Encoded:
        codes = self.adapter.encode(audio, self._codebooks(setting))
        head = np.array(codes.shape, np.uint32).tobytes()
        return Encoded(head + codes.tobytes(), self.adapter.config.bits_per_code * codes.size)

    def decode(self, data: bytes, setting: str) -> Audio:
        shape = np.frombuffer(data, np.uint32, 2)
        return self.adapter.decode(np.frombuffer(data, np.uint16, offset=8).reshape(shape))

    def _codebooks(self, setting: str) -> int:
        config = self.adapter.config
        if setting == "all":
            return config.n_codebooks
        if self.name == "encodec":
            count = round(1000 * kbps(setting, self.name) / config.bitrate_per_codebook)
        elif setting.isdecimal():
            count = int(setting)
        else:
            raise PeerError(f"{self.name}: {setting!r} is not a number of codebooks, nor all")
        if not 1 <= count <= config.n_codebooks:
            raise PeerError(f"{self.name} at {setting}: 1 to {config.n_codebooks} codebooks")
        return count


def encodec() -> Adapted:
    return Adapted("encodec", "EnCodec", "facebook/encodec_24khz", ("1.5", "3", "6", "12"))


def dac() -> Adapted:
    return Adapted("dac", "DAC", "descript/dac_24khz", ("2", "4", "8"))


def mimi() -> Adapted:
    return Adapted("mimi", "Mimi", "kyutai/mimi", ("4", "8", "16", "32"))


def snac() -> Adapted:
    return Adapted("snac", "SNAC", "hubertsiuzdak/snac_24khz", ("all",))


def xcodec2() -> Adapted:
    return Adapted("xcodec2", "X-Codec 2", "HKUSTAudio/xcodec2", ("all",))
