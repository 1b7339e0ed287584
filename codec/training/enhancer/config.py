"""Hold all settings of an enhancer's training in one frozen dataclass."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from codec.engine.refine import MAX_STEPS
from codec.errors import TrainingError
from codec.model.enhancer_config import SAMPLE_RATE, EnhancerConfig
from codec.training.config import typed
from codec.training.critics.grammar import Kind, read_kinds

# Codebooks, of 28, that crops are decoded from: often 6 and 12, sometimes any other number.
_DEPTHS = (2, 3, 4, 5, 6, 6, 6, 7, 8, 10, 12, 12, 12, 14, 16, 20, 24, 24, 28)


@dataclasses.dataclass(frozen=True)
class EnhancerTraining:
    """Hold the settings. Counts are in steps, lengths in samples, times in minutes."""

    model: EnhancerConfig = dataclasses.field(default_factory=EnhancerConfig)

    seed: int = 0
    batch_size: int = 10  # crops of a step, of all processes together
    crop_samples: int = 24_000
    context_samples: int = 7_680  # decoded before a crop and after it, which no loss hears
    # Globs of the files' paths and the factors of how often they are drawn: see `file_weights`.
    data_weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    depths: tuple[float, ...] = tuple(depth / 28 for depth in _DEPTHS)  # shares of the codebooks
    # What `codec compress --refine` gives is decoded to other sounds than the codes of one path.
    refined_share: float = 0.25  # of the audio
    refine_steps: int = 8  # at most: each stretch has a number from 1 on
    refine_paths: int = 4
    level_db: tuple[float, ...] = (-30.0, 6.0)  # gain of what was decoded, less where it would clip

    mel_weight: float = 1.0
    magnitude_weight: float = 2.0
    phase_weight: float = 1.0
    phase_power: float = 1.0  # with d of n codebooks, phase_weight is multiplied by (d / n)^this
    # and in files that critics do not hear also by this: what brings a waveform closer takes power
    # out of noise, and no critic misses it there
    unheard_phase: float = 0.15
    loudness_weight: float = 0.1

    critics: str = "3x512+6x256+1x1024"  # see codec/training/critics/grammar.py
    critics_from: int = 300  # step; at once if --init has critics that have learned
    critics_warmup: int = 300  # over which the two weights below grow from 0
    critics_drawn: int = 2  # how many of them take part in each step
    critic_crops: int = 6  # crops of a batch that they hear
    critic_files: str = "*speech*"  # glob of the files that they hear
    critic_channels: int = 32
    critic_low: float = 3500.0  # hertz; critics of the whole band ignore what is below
    adversarial_weight: float = 0.3  # of its gradient, relative to that of the losses above
    feature_weight: float = 0.7  # likewise
    critic_lr: float = 2e-3
    critic_betas: tuple[float, ...] = (0.5, 0.99)

    lr: float = 7e-4
    warmup_steps: int = 200
    decay_share: float = 0.4  # of the training, its end, in which the rate falls
    decay_floor: float = 0.01  # of lr, reached at the end
    betas: tuple[float, ...] = (0.9, 0.99)
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    max_bad_steps: int = 20  # skipped in a row because something was not finite: training stops

    precision: str = "auto"  # of the backbone: float32, bfloat16, or auto: what the CPU is made for
    checkpoint_minutes: float = 5.0

    def __post_init__(self) -> None:
        for name, good in (
            ("seed", 0 <= self.seed < 2**63),
            ("batch_size", self.batch_size >= 1),
            ("crop_samples", self.crop_samples >= 2048),  # the longest window of the losses
            ("context_samples", self.context_samples >= 0),
            ("depths", bool(self.depths) and all(0 < depth <= 1 for depth in self.depths)),
            (
                "level_db",
                len(self.level_db) == 2 and -200 <= self.level_db[0] <= self.level_db[1] <= 200,
            ),
            *(
                (name, len(betas) == 2 and all(0 <= beta < 1 for beta in betas))
                for name, betas in (("betas", self.betas), ("critic_betas", self.critic_betas))
            ),
            *(
                (name, 0 <= getattr(self, name) < math.inf)
                for name in vars(self)
                if name.endswith(("_weight", "_power", "_phase", "_decay", "_minutes"))
            ),
            ("refined_share", 0 <= self.refined_share <= 1),
            ("refine_steps", 1 <= self.refine_steps <= MAX_STEPS),
            ("refine_paths", 1 <= self.refine_paths <= 64),
            *(
                (name, getattr(self, name) >= 1)
                for name in ("critics_drawn", "critic_crops", "critic_channels", "max_bad_steps")
            ),
            *(
                (name, getattr(self, name) >= 0)
                for name in ("critics_from", "critics_warmup", "warmup_steps")
            ),
            *((name, 0 < getattr(self, name) < math.inf) for name in ("lr", "critic_lr")),
            ("critic_low", 0 <= self.critic_low <= SAMPLE_RATE / 2),
            ("decay_share", 0 <= self.decay_share <= 1),
            ("decay_floor", 0 <= self.decay_floor <= 1),
            ("clip_norm", self.clip_norm > 0),
            ("ema_decay", self.ema_decay < 1),
            ("precision", self.precision in ("auto", "float32", "bfloat16")),
        ):
            if not good:
                raise TrainingError(f"{name} cannot be {getattr(self, name)!r}")
        if self.whole_samples % self.model.hop:
            raise TrainingError(
                f"crop_samples + 2 context_samples ({self.whole_samples}) must be whole frames of "
                f"{self.model.hop} samples"
            )
        _ = self.critic_kinds  # raises what is wrong with them

    @property
    def whole_samples(self) -> int:
        """Samples of a crop with what is around it."""
        return self.crop_samples + 2 * self.context_samples

    @property
    def critic_kinds(self) -> list[Kind]:
        """List the critics that `critics` names. Raises TrainingError; see `read_kinds`."""
        return read_kinds(self.critics, self.crop_samples)

    @staticmethod
    def n_codebooks(of: int, depth: float) -> int:
        """Compute how many of a model's codebooks the share `depth` is, at least 1."""
        return max(1, round(of * depth))

    def rate_at(self, step: int, progress: float) -> float:
        """Compute what learning rates are multiplied by: a linear warm-up, then 1, then a decay.

        progress: the share of the training that is done, 0 to 1. The decay is 1 - sqrt of its own
        progress (Hägele et al. 2024, arXiv 2405.18392, §3), down to `decay_floor`.
        """
        rate = min(1.0, (step + 1) / max(self.warmup_steps, 1))
        decayed = progress - (1 - self.decay_share)
        if decayed <= 0:
            return rate
        left = 1 - math.sqrt(min(1.0, decayed / self.decay_share))
        return rate * (self.decay_floor + (1 - self.decay_floor) * left)

    def replace(self, changes: Mapping[str, Any]) -> EnhancerTraining:
        """Give a copy with some fields changed; `model` is a table of fields of EnhancerConfig.

        Raises TrainingError on a field that is unknown, or of a wrong type or value, and
        ModelError on dimensions that do not fit.
        """
        checked = dict(changes)
        if "model" in checked:
            checked["model"] = dataclasses.replace(
                self.model, **typed(EnhancerConfig, checked["model"], "model.")
            )
        return dataclasses.replace(self, **typed(EnhancerTraining, checked, ""))
