"""Draw which augmentations each crop gets, and apply them in the order that nature does.

Speed and mixing change the source, tilt and room what reaches the microphone, noise and gain what
is recorded. Everything is a function of (seed, step, row): neither the other crops of the batch nor
the other augmentations change what one does. An augmentation whose share is 0 costs nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from codec.training import counter
from codec.training.augment.level import GAIN_STEPS, add_below, gain_table, scale
from codec.training.augment.noise import colour
from codec.training.augment.room import convolve, response
from codec.training.augment.settings import Augmentations
from codec.training.augment.speed import change_speed, margin, places_before
from codec.training.augment.tilt import tilt

# The counter's stream of each use. 0 and 1 are those of crops and of the crops mixed into them.
LEVEL, SPEED, MIX, TILT, ROOM, ROOM_NOISE, NOISE, NOISE_SAMPLES, OTHER_NOISE_SAMPLES = range(2, 11)


class Chain:
    """Turns crops as they are stored into crops to train on."""

    def __init__(
        self,
        settings: Augmentations,
        samples: int,
        sample_rate: int,
        seed: int,
        device: torch.device,
        channels: int = 1,
    ) -> None:
        self.settings, self.samples, self.sample_rate = settings, samples, sample_rate
        self.seed, self.channels = seed, channels
        low, high = settings.gain_db
        self._gains = gain_table(low, high).to(device)

    @property
    def samples_read(self) -> int:
        """The length of the crops that the chain takes: more than `samples` if speed varies."""
        if not self.settings.speed_share:
            return self.samples
        return self.samples + margin(self.samples, self.settings.fastest)

    @property
    def mixes(self) -> bool:
        """Whether the chain takes other crops to mix in."""
        return self.settings.mix_share > 0

    def __call__(self, audio: Tensor, other: Tensor | None, step: Tensor, rows: Tensor) -> Tensor:
        """Augment float32 [batch, samples_read] to float32 [batch, samples] within [-1, 1].

        other: crops of the same shape to mix in, if `mixes`. step: int64 scalar. rows: int64
        [batch], the crops' places in the whole batch. Of two `channels`, audio is [2 * batch,
        samples], a crop's channels one after the other. Both get the same, but for noise: each has
        its own, of the same density.

        Without speed, mixing, tilt, room and noise the result is the same bits on every device, and
        otherwise but for rounding.
        """
        settings, channels, crops = self.settings, self.channels, rows
        if channels > 1:
            rows = rows.repeat_interleave(channels)
        speed = self._speed(step, rows) if settings.speed_share else None
        audio = self._at_speed(audio, speed)
        if settings.mix_share:
            assert other is not None
            share, below = self._draw(step, rows, MIX, 2).unbind(1)
            below = _between(settings.mix_db, below)
            mixed = add_below(audio, self._at_speed(other, speed), below, channels)
            audio = _choose(share < settings.mix_share, mixed, audio)
        if settings.tilt_share:
            share, slope = self._draw(step, rows, TILT, 2).unbind(1)
            slope = settings.tilt_db * (2 * slope - 1)
            tilted = tilt(audio, slope, self.sample_rate)
            audio = _choose(share < settings.tilt_share, tilted, audio)
        if settings.room_share:
            share, seconds, level = self._draw(step, rows, ROOM, 3).unbind(1)
            length = round(settings.room_seconds[1] * self.sample_rate)
            room = response(
                self._normal(step, rows, ROOM_NOISE, length),
                _between(settings.room_seconds, seconds),
                _between(settings.room_db, level),
                self.sample_rate,
            )
            audio = _choose(share < settings.room_share, convolve(audio, room), audio)
        if settings.noise_share:
            share, exponent, below = self._draw(step, rows, NOISE, 3).unbind(1)
            noise = colour(self._white(step, crops), exponent, self.sample_rate)
            noisy = add_below(audio, noise, _between(settings.noise_db, below), channels)
            audio = _choose(share < settings.noise_share, noisy, audio)
        return self._at_level(audio, step, rows)

    def places_before(self, places: Tensor, step: Tensor, rows: Tensor) -> Tensor:
        """Say which sample of the crop as it is stored becomes the one at each of `places`.

        places: int64 [n], below `samples`. Returns int64 [batch, n]. Only speed moves samples.
        """
        if not self.settings.speed_share:
            return places.expand(len(rows), -1)
        speed = self._speed(step, rows)
        return places_before(places, speed, self.samples, self.samples_read)

    def _speed(self, step: Tensor, rows: Tensor) -> Tensor:
        """Draw the speed of each row, float32; 1 where it stays."""
        share, faster = self._draw(step, rows, SPEED, 2).unbind(1)
        most = self.settings.speed_percent / 100
        chosen = share < self.settings.speed_share
        return torch.where(chosen, 1 + most * (2 * faster - 1), 1.0)

    def _at_speed(self, audio: Tensor, speed: Tensor | None) -> Tensor:
        return audio if speed is None else change_speed(audio, speed, self.samples)

    def _at_level(self, audio: Tensor, step: Tensor, rows: Tensor) -> Tensor:
        gain, sign = counter.words(self.seed, step, rows, LEVEL, 2).unbind(1)
        factor = self._gains[gain * GAIN_STEPS >> 32]
        turned = counter.unit(sign) < self.settings.sign_share
        return scale(audio, torch.where(turned, -factor, factor), self.channels)

    def _white(self, step: Tensor, crops: Tensor) -> Tensor:
        """Draw white noise for each channel of `crops`, float32 [batch * channels, samples]."""
        streams = (NOISE_SAMPLES, OTHER_NOISE_SAMPLES)[: self.channels]
        each = [self._normal(step, crops, stream, self.samples) for stream in streams]
        return torch.stack(each, 1).flatten(0, 1)

    def _draw(self, step: Tensor, rows: Tensor, stream: int, count: int) -> Tensor:
        """Draw `count` numbers in [0, 1) for each row, float32."""
        # The upper 24 bits: rounding must not give 1.
        return (counter.words(self.seed, step, rows, stream, count) >> 8).float() * 2.0**-24

    def _normal(self, step: Tensor, rows: Tensor, stream: int, count: int) -> Tensor:
        """Draw `count` standard normal numbers for each row, float32."""
        even = count + count % 2
        return counter.normal(counter.words(self.seed, step, rows, stream, even))[:, :count]


def _between(ends: tuple[float, ...], share: Tensor) -> Tensor:
    low, high = ends
    return low + (high - low) * share


def _choose(chosen: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Take the rows of `new` where `chosen`, bool [batch], is true, else those of `old`."""
    return torch.where(chosen[:, None], new, old)
