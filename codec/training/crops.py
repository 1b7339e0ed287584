"""Random training crops from prepared audio: a pure function of (seed, step).

Nothing is remembered between batches, so a run that was killed at step n continues with the very
batch it would have had, on any machine and with any number of readers.
"""

from __future__ import annotations

import fnmatch
from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from codec.errors import DataError
from codec.training.prepare import FULL_SCALE, AudioEntry, PreparedAudio

GAIN_DB = (-12.0, 3.0)
SILENCE_RMS = 1e-3  # -60 dB of full scale
ATTEMPTS = 4  # places tried for one crop before silence is accepted

Uniform = npt.NDArray[np.float64]


class CropSampler:
    """Draws batches of crops from prepared audio.

    A file is drawn in proportion to its duration times its weight, and the crop's place in it
    uniformly. The weight is the product of `weights` over all globs that match the file's path in
    the index (`fnmatch`: `*` also crosses folders), times `full_band_weight` if energy was measured
    above 8 kHz. A crop under -60 dB RMS is drawn again, at most three times. A file shorter than
    a crop lies at a random place in zeros. Each crop then gets a random sign and a gain of -12 to
    +3 dB, less where that would clip.

    Raises DataError if a glob matches nothing, a weight is negative or not finite, or all are 0.
    """

    def __init__(
        self,
        prepared: PreparedAudio,
        crop_samples: int,
        batch_size: int,
        seed: int,
        weights: Mapping[str, float] | None = None,
        full_band_weight: float = 2.0,
    ) -> None:
        if crop_samples < 1 or batch_size < 1:
            raise DataError(f"cannot draw {batch_size} crops of {crop_samples} samples")
        if not 0 <= seed < 2**64:
            raise DataError(f"a seed is in 0 ... 2^64 - 1, not {seed}")
        self.crop_samples = crop_samples
        self.batch_size = batch_size
        self.seed = seed
        self._files = prepared.files
        self._audio = prepared.audio()
        factors = file_weights(prepared.files, weights or {}, full_band_weight)
        mass = factors * np.array([entry.samples for entry in prepared.files], np.float64)
        if not mass.sum() > 0:
            raise DataError("every file has weight 0")
        self._probabilities = mass / mass.sum()
        self._cumulative = np.cumsum(self._probabilities)

    def batch(self, step: int) -> torch.Tensor:
        """The batch of `step` (0 or more): float32 [batch_size, crop_samples] within [-1, 1]."""
        return self.batch_and_files(step)[0]

    def batch_and_files(self, step: int) -> tuple[torch.Tensor, list[AudioEntry]]:
        """`batch`, and the file that each crop is of."""
        uniform = _uniform(self.seed, step, self.batch_size * (2 * ATTEMPTS + 2))
        uniform = uniform.reshape(self.batch_size, 2 * ATTEMPTS + 2)
        crops = np.zeros((self.batch_size, self.crop_samples), np.float32)
        files = []
        for crop, numbers in zip(crops, uniform, strict=True):
            for file_number, place in numbers[: 2 * ATTEMPTS].reshape(ATTEMPTS, 2):
                entry = self._read(crop, file_number, place)
                if crop @ crop >= SILENCE_RMS**2 * self.crop_samples:
                    break
            _augment(crop, *numbers[2 * ATTEMPTS :])
            files.append(entry)
        return torch.from_numpy(crops), files

    def shares(self) -> dict[str, float]:
        """The expected share of each group of files among the crops drawn; sums to 1."""
        shares: dict[str, float] = defaultdict(float)
        for entry, probability in zip(self._files, self._probabilities, strict=True):
            shares[entry.group] += float(probability)
        return dict(shares)

    def _read(self, crop: npt.NDArray[np.float32], file_number: float, place: float) -> AudioEntry:
        """Fill `crop` from the file and the place in it that two numbers in [0, 1) stand for;
        that file."""
        # Rounding may leave the last cumulative sum a little under 1: scale onto it. side="right"
        # steps over files of weight 0, whose interval is empty.
        scaled = file_number * self._cumulative[-1]
        entry = self._files[int(np.searchsorted(self._cumulative, scaled, side="right"))]
        spare = entry.samples - self.crop_samples
        if spare >= 0:
            start = entry.offset + int(place * (spare + 1))
            crop[:] = self._audio[start : start + self.crop_samples]
        else:
            start = int(place * (1 - spare))
            crop[:] = 0
            crop[start : start + entry.samples] = self._audio[
                entry.offset : entry.offset + entry.samples
            ]
        crop /= FULL_SCALE
        return entry


def file_weights(
    files: tuple[AudioEntry, ...], weights: Mapping[str, float], full_band_weight: float
) -> npt.NDArray[np.float64]:
    """The weight of each file, before its duration; see `CropSampler`."""
    for glob, weight in {**weights, "full band": full_band_weight}.items():
        if not 0 <= weight < np.inf:
            raise DataError(f"the weight of {glob!r} is {weight}")
    result = np.array([full_band_weight if entry.full_band else 1.0 for entry in files])
    for glob, weight in weights.items():
        matches = np.array([fnmatch.fnmatchcase(entry.path, glob) for entry in files])
        if not matches.any():
            raise DataError(f"the weight of {glob!r} matches none of the {len(files)} files")
        result[matches] *= weight
    return result


def _augment(crop: npt.NDArray[np.float32], gain: float, sign: float) -> None:
    """Scale `crop` in place by the gain and the sign that two numbers in [0, 1) stand for."""
    low, high = GAIN_DB
    factor = float(10 ** ((low + gain * (high - low)) / 20))
    peak = float(np.abs(crop).max())
    if factor * peak > 1:
        factor = 1 / peak
    crop *= factor if sign < 0.5 else -factor
    np.clip(crop, -1, 1, out=crop)  # peak * (1 / peak) may round to just over 1


def _uniform(seed: int, step: int, count: int) -> Uniform:
    """`count` numbers in [0, 1), a function of the arguments alone.

    Philox is counter-based (Salmon et al., SC 2011): the key picks one of 2^128 independent
    streams. Its raw output is fixed across numpy versions, which `Generator`'s methods are not.
    """
    key = np.array([seed, step], np.uint64)
    raw = np.random.Philox(key=key).random_raw(count)
    uniform: Uniform = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return uniform
