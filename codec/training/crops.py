"""Random training crops from prepared audio: a function of (seed, step), on any device.

Nothing is remembered between batches, so a run that was killed at step n continues with the batch
it would have had. What is drawn comes from a counter-based generator in integers, so a CPU and a
GPU draw the same crops (`codec.training.counter`). Shapes are fixed and the host never looks at
the data, so drawing can run inside a captured graph.
"""

from __future__ import annotations

import fnmatch
import math
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from codec.errors import DataError
from codec.training import counter
from codec.training.augment.chain import Chain
from codec.training.augment.settings import Augmentations
from codec.training.phones import UNITS, UNKNOWN, read_labels
from codec.training.prepare import AUDIO_NAME, FULL_SCALE, AudioEntry, PreparedAudio

SILENCE_RMS = 1e-3  # -60 dB of full scale
ATTEMPTS = 4  # places tried for one crop before silence is accepted

CROP, MIXED = 0, 1  # streams of the counter; `augment.chain` has the others

FREE_SHARE = 0.5  # of the device's free memory that the audio may take with data=auto
COPY_SAMPLES = 1 << 26  # copied to the device at a time


class Crops(NamedTuple):
    """A batch of crops, and what is known of them."""

    audio: Tensor  # float32 [batch_size, crop_samples], or [batch_size, 2, these], in [-1, 1]
    files: Tensor  # int64 [batch_size]: the number of each crop's file in the index
    phones: Tensor  # int64 [batch_size, frames]: the phone in each frame's middle, 0: unknown


class CropSampler:
    """Draws batches of crops from prepared audio.

    A file is drawn in proportion to its duration times its weight, and the crop's place in it
    evenly. The weight is the product of `weights` over all globs that match the file's path in the
    index (`fnmatch`: `*` also crosses folders), times `full_band_weight` if energy was measured
    above 8 kHz. A crop under -60 dB RMS is drawn again, at most three times. A file shorter than a
    crop lies at a random place in zeros. Each crop is then augmented (`augmentations`); by default
    it gets a random sign and a gain of -12 to +3 dB, less where that would clip.

    Audio that was prepared with two channels gives crops of both, with the same augmentations: the
    same speed, filter, room and gain, and noise of the same kind, but drawn for each.

    frame_samples: where the audio has labels of phones (`codec.training.phones`), crops carry the
    phone in the middle of each frame of so many samples. A change of speed moves them, too. Where
    two crops are mixed the phones are those of the louder one. None: no labels are read, and
    crops have no frames.

    device: where batches are made. data: where the audio is kept: "device" copies it there, "host"
    leaves it in the memory map, reads crops with the CPU and copies those, and "auto" takes the
    device if the audio fits into half of its free memory. part: (rank, n) draws rows rank,
    rank + n, ... of the batch alone: what a single process would have drawn for these rows.

    Raises DataError if a glob matches nothing, a weight is negative or not finite, all are 0, the
    audio does not fit into the device's memory with data="device", or has no labels with
    frame_samples.
    """

    def __init__(
        self,
        prepared: PreparedAudio,
        crop_samples: int,
        batch_size: int,
        seed: int,
        weights: Mapping[str, float] | None = None,
        full_band_weight: float = 2.0,
        *,
        augmentations: Augmentations | None = None,
        frame_samples: int | None = None,
        device: torch.device | str = "cpu",
        data: str = "auto",
        part: tuple[int, int] = (0, 1),
    ) -> None:
        if crop_samples < 1 or batch_size < 1:
            raise DataError(f"cannot draw {batch_size} crops of {crop_samples} samples")
        if not 0 <= seed < 2**64:
            raise DataError(f"a seed is in 0 ... 2^64 - 1, not {seed}")
        self.crop_samples = crop_samples
        self.batch_size = batch_size
        self.seed = seed
        self.device = torch.device(device)
        self._files = prepared.files
        lengths = np.array([entry.samples for entry in prepared.files])
        mass = file_weights(prepared.files, weights or {}, full_band_weight) * lengths
        if not mass.sum() > 0:
            raise DataError("every file has weight 0")
        self._probabilities = mass / mass.sum()
        self._audio = load(prepared, self.device, data)
        self.data_device = self._audio.device
        self._cumulative = torch.from_numpy(np.cumsum(self._probabilities)).to(self.data_device)
        self._lengths = torch.from_numpy(lengths).to(self.data_device)
        offsets = np.array([entry.offset for entry in prepared.files])
        self._offsets = torch.from_numpy(offsets).to(self.data_device)
        self._labels: Tensor | None = None
        self._sample_rate, self._channels = prepared.sample_rate, prepared.channels
        self._middles = torch.zeros(0, dtype=torch.int64, device=self.data_device)
        if frame_samples is not None:
            self._labels = torch.from_numpy(read_labels(prepared)[0]).to(self.data_device)
            middles = torch.arange(frame_samples // 2, crop_samples, frame_samples)
            self._middles = middles.to(self.data_device)
        self._rows = torch.arange(part[0], batch_size, part[1], device=self.device)
        self._data_rows = self._rows.to(self.data_device)
        self._chain = Chain(
            augmentations or Augmentations(),
            crop_samples,
            prepared.sample_rate,
            seed,
            self.device,
            prepared.channels,
        )

    def batch(self, step: int | Tensor) -> Tensor:
        """Draw the batch of `step` (0 or more); float32 [batch_size, crop_samples] in [-1, 1], or
        [batch_size, 2, crop_samples] of left and right."""
        return self.crops(step).audio

    def crops(self, step: int | Tensor) -> Crops:
        """Draw as `batch`, with the crops' files and phones.

        step: an int, or an int64 scalar on the device that holds the audio. The numbers of the
        files and the phones are on that device too.
        """
        if not isinstance(step, Tensor):
            step = torch.full((), step, dtype=torch.int64, device=self.data_device)
        pieces, numbers, starts = self._pieces(step, CROP)
        other = self._to_float(self._pieces(step, MIXED)[0]) if self._chain.mixes else None
        here = step if step.device == self.device else _to_device(step, self.device)
        audio = self._chain(self._to_float(pieces), other, here, self._rows)
        if self._channels > 1:
            audio = audio.view(-1, self._channels, audio.shape[1])
        return Crops(audio, numbers, self._phones(step, numbers, starts))

    def batch_and_files(self, step: int) -> tuple[Tensor, list[AudioEntry]]:
        """Draw as `batch`; also the file that each crop is of. Waits for the device."""
        crops = self.crops(step)
        return crops.audio, [self._files[number] for number in crops.files.tolist()]

    def shares(self) -> dict[str, float]:
        """Compute the expected share of each group of files among the crops; they sum to 1."""
        shares: dict[str, float] = defaultdict(float)
        for entry, probability in zip(self._files, self._probabilities, strict=True):
            shares[entry.group] += float(probability)
        return dict(shares)

    def _phones(self, step: Tensor, numbers: Tensor, starts: Tensor) -> Tensor:
        """Read the phone in the middle of each frame; int64 [batch_size, frames]."""
        if self._labels is None:
            return torch.zeros(len(numbers), 0, dtype=torch.int64, device=self.data_device)
        place = self._chain.places_before(self._middles, step, self._data_rows) + starts[:, None]
        inside = (place >= 0) & (place < self._lengths[numbers][:, None])
        unit = (place + self._offsets[numbers][:, None]) * UNITS // self._sample_rate
        found = self._labels[unit.clamp(0, len(self._labels) - 1)].long()
        return torch.where(inside, found, torch.full_like(found, UNKNOWN))

    def _pieces(self, step: Tensor, stream: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw int16 [batch_size, samples] as they are stored, their files' numbers, and where in
        these files they start, which is below 0 where the file is shorter. Of two channels, each
        is a row: left, right, left, ..."""
        length = self._chain.samples_read
        drawn = counter.words(self.seed, step, self._data_rows, stream, 2 * ATTEMPTS)
        file, place = counter.unit(drawn).view(-1, ATTEMPTS, 2).unbind(-1)
        # Rounding may leave the last cumulative sum a little under 1: scale onto it. right=True
        # steps over files of weight 0, whose interval is empty.
        scaled = (file * self._cumulative[-1]).contiguous()
        files = torch.searchsorted(self._cumulative, scaled, right=True)
        samples = self._lengths[files]
        spare = samples - length
        start = (place * (spare.abs() + 1)).long() + spare.clamp(max=0)
        position = start[..., None] + torch.arange(length, device=self.data_device)
        inside = (position >= 0) & (position < samples[..., None])
        within = position.clamp(min=0).minimum(samples[..., None] - 1)
        pieces = self._audio[self._offsets[files][..., None] + within]
        if self._channels > 1:
            pieces = pieces.transpose(-1, -2).flatten(-2)  # the channels one after the other
            inside = inside.repeat(1, 1, self._channels)
        pieces = pieces * inside
        # Energies are integers, and so the same on every device.
        energy = pieces.long().square().sum(-1)
        loud = energy >= math.ceil(SILENCE_RMS**2 * FULL_SCALE**2 * pieces.shape[-1])
        attempts = torch.arange(ATTEMPTS, device=self.data_device)
        chosen = torch.where(loud, attempts, ATTEMPTS - 1).amin(1, keepdim=True)
        taken = pieces.gather(1, chosen[..., None].expand(-1, -1, pieces.shape[-1]))
        return taken.view(-1, length), files.gather(1, chosen)[:, 0], start.gather(1, chosen)[:, 0]

    def _to_float(self, pieces: Tensor) -> Tensor:
        """Move int16 pieces to the device as float32 in [-1, 1]."""
        return _to_device(pieces, self.device).float() / FULL_SCALE


def load(prepared: PreparedAudio, device: torch.device, data: str) -> Tensor:
    """Give the prepared audio as an int16 tensor [n_samples], or [n_samples, 2].

    It is on the device or a memory map.

    data: auto, device or host; see `CropSampler`. On the CPU it is always the memory map. Raises
    DataError.
    """
    if data not in ("auto", "device", "host"):
        raise DataError(f"data is auto, device or host, not {data!r}")
    # Copy on write: PyTorch has no read-only tensors, and the file must not change.
    mapped = np.memmap(prepared.folder / AUDIO_NAME, dtype="<i2", mode="c")
    audio = torch.from_numpy(mapped)
    if prepared.channels > 1:
        audio = audio.view(-1, prepared.channels)
    if device.type == "cpu" or data == "host":
        return audio
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if data == "auto" and audio.nbytes > FREE_SHARE * free:
            return audio
        if audio.nbytes > free:
            raise DataError(
                f"the audio takes {audio.nbytes / 1e9:.1f} GB and {device} has {free / 1e9:.1f} GB "
                "free: set data=host"
            )
    elif data == "auto":
        return audio
    there = torch.empty(audio.shape, dtype=audio.dtype, device=device)
    for start in range(0, len(audio), COPY_SAMPLES):
        there[start : start + COPY_SAMPLES].copy_(audio[start : start + COPY_SAMPLES])
    return there


def file_weights(
    files: tuple[AudioEntry, ...], weights: Mapping[str, float], full_band_weight: float
) -> npt.NDArray[np.float64]:
    """Compute the weight of each file, before its duration; see `CropSampler`."""
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


def _to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy to the device without waiting for it."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
