"""Read the setting `critics`: which critics there are, and whether each fits a crop.

    critics  = term *("+" term)
    term     = FACTOR "x" NFFT               of the lowest 1/FACTOR of the band ("3x512")
             / family [CHANNELS] ":" SIZES   one critic for each of the sizes
    family   = "period" / spectrum ["-bands"]
    spectrum = "complex" / "magnitude"
    SIZES    = NUMBER *("," NUMBER)          periods in samples, or FFT sizes

For example "period:2,3,5,7,11+magnitude16:78,126,206+complex-bands32:2048+6x256".
"""

from __future__ import annotations

import dataclasses
import re

from codec.errors import TrainingError

# Channels of a critic's first layer. HiFi-GAN's period critics have 32, four times as many.
CHANNELS = {"period": 8, "complex": 32, "magnitude": 16}

SHORTEST_FFT, LONGEST_FFT, LONGEST_PERIOD = 16, 65_536, 1024
PERIOD_STRIDE = 81  # samples of one phase for each score of a period critic

_LOW = re.compile(r"([1-9]\d?)x(\d{2,5})")
_NAMED = re.compile(r"(period|complex|magnitude)(-bands)?([1-9]\d{0,3})?:(\d+(?:,\d+)*)")


@dataclasses.dataclass(frozen=True)
class Kind:
    """One critic. `channels` is 0 where the setting `critic_channels` decides."""

    family: str  # low, period, complex or magnitude
    size: int  # period in samples, or FFT size
    channels: int = 0
    factor: int = 1  # low: the critic sees the lowest 1 / factor of the band
    bands: bool = False  # separate layers for each of DAC's five bands

    @property
    def hears_waveform(self) -> bool:
        return self.family == "period"

    def fits(self, samples: int) -> bool:
        """Tell whether a crop of `samples` samples is long enough for this critic."""
        if self.family == "period":
            return 2 <= self.size <= LONGEST_PERIOD and self.size * PERIOD_STRIDE <= samples
        if self.family == "low" and self.size % 4:
            return False
        shortest = 2 * SHORTEST_FFT if self.bands else SHORTEST_FFT
        longest = min(LONGEST_FFT, samples // self.factor)
        return shortest <= self.size <= longest and self.size % 2 == 0


def read_kinds(setting: str, samples: int) -> list[Kind]:
    """List the critics that `setting` names.

    Raises TrainingError on a term that has another form, or that does not fit crops of `samples`.
    """
    kinds = []
    for term in setting.split("+"):
        for kind in _read_term(setting, term):
            if not kind.fits(samples):
                raise TrainingError(
                    f"critics cannot be {setting!r}: {term} does not fit: size {kind.size} in "
                    f"crops of {samples // kind.factor} samples"
                )
            kinds.append(kind)
    return kinds


def _read_term(setting: str, term: str) -> list[Kind]:
    if match := _LOW.fullmatch(term):
        return [Kind("low", int(match[2]), factor=int(match[1]))]
    match = _NAMED.fullmatch(term)
    if match is None or (match[1] == "period" and match[2]):
        raise TrainingError(
            f"critics cannot be {setting!r}: {term} is neither FACTORxNFFT nor "
            "period, complex, magnitude, complex-bands or magnitude-bands with sizes, "
            "as in period:2,3,5"
        )
    channels = int(match[3]) if match[3] else CHANNELS[match[1]]
    return [
        Kind(match[1], int(size), channels, bands=bool(match[2])) for size in match[4].split(",")
    ]
