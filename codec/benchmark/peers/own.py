"""Run our codec: files as `codec compress` writes them."""

from __future__ import annotations

import functools
import io

from codec.api import Codec, load
from codec.benchmark.peers.base import Encoded, kbps
from codec.engine.refine import PLAIN, Search
from codec.nac.reader import Reader
from codec.quality.pair import Audio

BEAM = Search(beam=16)
REFINE = Search(beam=16, refine=20)


class Own:
    """Our codec. Settings are kbit/s of the codes before entropy coding.

    search: for the codes. enhance: whether decoded audio is enhanced.
    """

    kinds: frozenset[str] | None = None

    def __init__(
        self,
        model: str = "default",
        effort: str = "best",
        search: Search = PLAIN,
        *,
        enhance: bool = False,
    ) -> None:
        self._model, self._effort = model, effort
        self._search, self._enhance = search, enhance

    @property
    def name(self) -> str:
        beam, refine = self._search
        search = "-refine" if refine else "" if beam == 1 else "-beam"
        return f"codec{search}{'-enhance' * self._enhance}"

    @functools.cached_property
    def codec(self) -> Codec:
        return load(self._model)

    @property
    def title(self) -> str:
        search = "" if self._search == PLAIN else f", {self._search.described()}"
        enhanced = ", enhanced" * self._enhance
        return f"codec {self.codec.model_id.hex()} ({self._effort}{search}{enhanced})"

    @property
    def sample_rate(self) -> int:
        return self.codec.config.sample_rate

    @property
    def settings(self) -> tuple[str, ...]:
        config = self.codec.config
        each = config.bitrate_per_codebook
        shares = (1 / 12, 1 / 4, 1 / 2, 3 / 4, 1)
        levels = sorted({max(1, round(share * config.n_codebooks)) for share in shares})
        return tuple(f"{level * each / 1000:g}" for level in levels)

    def encode(self, audio: Audio, setting: str) -> Encoded:
        data = self.codec.compress(
            audio,
            self.sample_rate,
            bitrate=1000 * kbps(setting, self.name),
            effort=self._effort,
            **self._search._asdict(),
        )
        payload = sum(len(chunk.payload) for chunk in Reader(io.BytesIO(data)).chunks())
        return Encoded(data, 8 * payload)

    def decode(self, data: bytes, setting: str) -> Audio:
        audio: Audio = self.codec.decompress(data, enhance=self._enhance)[0][0]
        return audio
