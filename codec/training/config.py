"""Hold all settings of a training run in one frozen dataclass, saved in every checkpoint."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

from codec.errors import ModelError, TrainingError
from codec.model.config import ModelConfig
from codec.training.augment.settings import Augmentations
from codec.training.critics.grammar import Kind, read_kinds


@dataclasses.dataclass(frozen=True)
class TrainConfig(Augmentations):
    """Hold the settings. Counts are in steps, lengths in samples, times in minutes."""

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)

    seed: int = 0
    learned: str = "all"  # or "decoder": encoder, codebooks and so all tokens stay as they are
    batch_size: int = 8
    crop_samples: int = 14_400
    data_weights: Mapping[str, float] = dataclasses.field(default_factory=dict)  # glob -> factor
    full_band_weight: float = 2.0
    data: str = "auto"  # where the audio is kept: device, host, or auto: see `CropSampler`

    fit_crops: int = 128  # one-second crops whose statistics the encoder's first layer starts from
    quantise_from: int = 1500  # step; until then the model is a plain autoencoder
    kmeans_frames: int = 98_304
    kmeans_iterations: int = 6
    codebook_decay: float = 0.999  # of the averages that the codebooks follow, per step
    quantiser: str = "codec"  # what moves the codebooks: codec, or library: see `LibraryQuantiser`
    refit_codebooks: bool = False  # fit the codebooks of --init anew
    first_dims: int = 0  # latent dimensions of level 1 alone; 0: it is the first of the chain
    full_depth_share: float = 0.5  # share of steps with all codebooks; else a depth for each crop
    depths: tuple[float, ...] = (1 / 12, 1 / 4, 1 / 2, 1 / 2)  # fractions of the codebooks

    loss_scales: str = "drawn"  # each step: two of the spectral loss's resolutions, or "all"
    mel_weight: float = 1.0
    magnitude_weight: float = 2.0
    phase_weight: float = 1.0
    phase_power: float = 2.0  # with d of n codebooks, phase_weight is multiplied by (d / n)^this
    phase_edge: float = 4000.0  # hertz
    phase_tail: float = 0.0  # weight above the edge, where the signs are noise
    loudness_weight: float = 0.0
    log_mel_weight: float = 0.0  # of DAC's log-mel distance at seven windows, every step
    stft_weight: float = 0.0  # of auraloss's multi-resolution STFT distance, every step
    commitment_weight: float = 0.25
    phonetic_weight: float = 0.0  # of the cross-entropy of the spoken phone, from level 1's output

    adversarial_from: int | None = None  # None: never
    adversarial_warmup: int = 1000  # over which the two weights below grow from 0
    adversarial_weight: float = 0.3  # of its gradient, relative to that of the losses above
    feature_weight: float = 0.7  # likewise
    balance: str = "step"  # of critics and other losses: by the norms of a step, or "average"
    adversarial: str = "hinge"  # or "least-squares"
    critics: str = "3x512+6x256"  # which there are: see codec/training/critics/grammar.py
    critics_drawn: int = 2  # how many of them take part in each step
    critic_rotation: str = "off"  # PhaseAug before critics of the "waveform", or before "all"
    critic_channels: int = 32
    critic_low: float = 3500.0  # hertz; critics of the whole band ignore what is below
    critic_crops: int = 4  # crops of a batch that critics hear: they cost more than the model
    critic_files: str = "*"  # glob of the files that critics hear
    critic_lr: float = 2e-3
    critic_betas: tuple[float, ...] = (0.5, 0.99)

    lr: float = 1e-3
    warmup_steps: int = 100
    decay_floor: float = 0.02  # of lr, reached at the end of a decay
    betas: tuple[float, ...] = (0.9, 0.99)
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    max_bad_steps: int = 20  # skipped in a row because something was not finite: training stops

    precision: str = "auto"  # of the backbones: float32, bfloat16, or auto
    step: str = "auto"  # how steps run: eager, graph (CUDA), compile (the whole step), or auto
    compile: str = "auto"  # the backbones with torch.compile unless step=compile: on, off, or auto

    checkpoint_minutes: float = 5.0
    eval_minutes: float = 25.0
    log_steps: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, good in (
            ("learned", self.learned in ("all", "decoder")),
            ("batch_size", self.batch_size >= 1),
            ("crop_samples", self.crop_samples >= 1),
            ("critic_crops", self.critic_crops >= 1),
            ("critic_channels", self.critic_channels >= 1),
            ("critics_drawn", self.critics_drawn >= 1),
            ("fit_crops", self.fit_crops >= 1),
            ("kmeans_frames", self.kmeans_frames >= self.model.codebook_size),
            ("depths", bool(self.depths) and all(0 < depth <= 1 for depth in self.depths)),
            *(
                (name, len(betas) == 2 and all(0 <= beta < 1 for beta in betas))
                for name, betas in (("betas", self.betas), ("critic_betas", self.critic_betas))
            ),
            ("first_dims", 0 <= self.first_dims < self.model.latent_dim),
            ("phonetic_weight", 0 <= self.phonetic_weight < math.inf),
            ("lr", 0 < self.lr < math.inf),
            ("adversarial", self.adversarial in ("hinge", "least-squares")),
            ("quantiser", self.quantiser in ("codec", "library")),
            ("balance", self.balance in ("step", "average")),
            ("critic_rotation", self.critic_rotation in ("off", "waveform", "all")),
            ("clip_norm", self.clip_norm > 0),
            ("decay_floor", 0 <= self.decay_floor <= 1),
            ("codebook_decay", 0 <= self.codebook_decay < 1),
            ("ema_decay", 0 <= self.ema_decay < 1),
            ("max_bad_steps", self.max_bad_steps >= 1),
            ("log_steps", self.log_steps >= 1),
            ("loss_scales", self.loss_scales in ("drawn", "all")),
            ("step", self.step in ("auto", "eager", "graph", "compile")),
            ("data", self.data in ("auto", "device", "host")),
            ("precision", self.precision in ("auto", "float32", "bfloat16")),
            ("compile", self.compile in ("auto", "on", "off")),
        ):
            if not good:
                raise TrainingError(f"{name} cannot be {getattr(self, name)!r}")
        if self.quantiser == "library" and self.step in ("graph", "compile"):
            raise TrainingError(
                f"quantiser=library needs step=eager, not step={self.step}: its shapes depend on "
                "the data"
            )
        if self.first_dims and self.quantiser == "library":
            raise TrainingError("quantiser=library cannot split level 1 off: set first_dims=0")
        if self.crop_samples % self.model.hop_length:
            raise TrainingError(
                f"crop_samples ({self.crop_samples}) must be whole frames of "
                f"{self.model.hop_length} samples"
            )
        if self.adversarial_from is not None:
            _ = self.critic_kinds  # raises what is wrong with them
            if self.feature_weight < self.adversarial_weight:
                raise TrainingError(
                    f"feature_weight ({self.feature_weight:g}) must be at least "
                    f"adversarial_weight ({self.adversarial_weight:g})"
                )
            if self.critic_rotation != "off" and self.crop_samples < 1024:
                raise TrainingError("critic_rotation needs crop_samples of at least 1024")

    @property
    def critic_kinds(self) -> list[Kind]:
        """List the critics that `critics` names. Raises TrainingError; see `read_kinds`."""
        return read_kinds(self.critics, self.crop_samples)

    def lr_at(self, step: int, decay: Decay | None = None, restarted: int = 0) -> float:
        """Compute the rate: linear warm-up, constant, and in a decay lr (1 - sqrt(progress)).

        The warm-up begins at step `restarted`, where the optimisers' moments did.
        The square root: Hägele et al. 2024, arXiv 2405.18392, §3.
        """
        lr = self.lr * min(1.0, (step - restarted + 1) / max(self.warmup_steps, 1))
        if decay is None:
            return lr
        progress = min(1.0, (step - decay.start + 1) / decay.steps)
        return lr * (self.decay_floor + (1 - self.decay_floor) * (1 - math.sqrt(progress)))

    def replace(self, changes: Mapping[str, Any]) -> TrainConfig:
        """Give a copy with some fields changed; `model` is a table of fields of ModelConfig.

        Raises TrainingError on a field that is unknown, or of a wrong type or value.
        """
        checked = dict(changes)
        if "model" in checked:
            checked["model"] = dataclasses.replace(
                self.model, **typed(ModelConfig, checked["model"], "model.")
            )
        return dataclasses.replace(self, **typed(TrainConfig, checked, ""))

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> TrainConfig:
        """Read what `to_json` gave; fields that are missing take their defaults."""
        try:
            fields = json.loads(text)
            model = ModelConfig.from_json(json.dumps(fields.pop("model", {})))
        except (ValueError, AttributeError, RecursionError, ModelError) as error:
            raise TrainingError(f"not a training configuration: {error}") from None
        return cls(model=model, **typed(cls, fields, ""))


@dataclasses.dataclass(frozen=True)
class Decay:
    """Describe a decay: `steps` steps from step `start` on."""

    start: int
    steps: int


def differences(old: TrainConfig, new: TrainConfig) -> dict[str, tuple[Any, Any]]:
    """Find fields that differ, as name -> (old, new); those of the model as model.NAME."""

    def flat(config: TrainConfig) -> dict[str, Any]:
        fields = dataclasses.asdict(config)
        return {**{f"model.{k}": v for k, v in fields.pop("model").items()}, **fields}

    before, after = flat(old), flat(new)
    return {name: (before[name], after[name]) for name in after if before[name] != after[name]}


def read_changes(file: Path | None, assignments: tuple[str, ...]) -> dict[str, Any]:
    """Read fields from a TOML or JSON file, then from "NAME=VALUE" and "model.NAME=VALUE".

    A value is JSON, or else a plain string. Raises TrainingError.
    """
    changes: dict[str, Any] = _read(file) if file else {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name.removeprefix("model."):
            raise TrainingError(f"{assignment!r} is not of the form NAME=VALUE")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = text
        if name.startswith("model."):
            changes["model"] = {**changes.get("model", {}), name.removeprefix("model."): value}
        else:
            changes[name] = value
    return changes


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix != ".toml":
            fields = json.loads(text)
        elif sys.version_info >= (3, 11):
            import tomllib

            fields = tomllib.loads(text)
        else:
            raise TrainingError("TOML needs Python 3.11 or later; write the file as JSON")
    except (ValueError, RecursionError) as error:
        kind = "TOML" if file.suffix == ".toml" else "JSON"
        raise TrainingError(f"{file}: no {kind}: {error}") from None
    except OSError as error:
        raise TrainingError(f"{file}: {error.strerror}") from None
    if not isinstance(fields, dict):
        raise TrainingError(f"{file}: not a table of fields")
    return fields


def typed(cls: type, fields: Any, prefix: str) -> dict[str, Any]:
    """Convert each value of `fields` to the type that the dataclass `cls` says.

    prefix: of the settings' names in errors. Raises TrainingError.
    """
    if not isinstance(fields, dict):
        raise TrainingError(f"{prefix.rstrip('.')} must be a table of fields")
    hints = get_type_hints(cls)
    result = {}
    for name, value in fields.items():
        if name not in hints:
            raise TrainingError(f"there is no setting {prefix}{name}")
        try:
            result[name] = _convert(value, hints[name])
        except TypeError:
            raise TrainingError(f"{prefix}{name} cannot be {value!r}") from None
    return result


def _convert(value: Any, hint: Any) -> Any:
    """Convert `value` to the type `hint`; an int may stand for a float, a list for a tuple."""
    if hint is float and type(value) is int:
        return float(value)
    if hint in (bool, int, float, str) or dataclasses.is_dataclass(hint):
        if type(value) is hint:
            return value
    elif type(None) in get_args(hint):
        return None if value is None else _convert(value, get_args(hint)[0])
    elif hint == tuple[float, ...] and isinstance(value, list | tuple):
        return tuple(_convert(item, float) for item in value)
    elif hint == Mapping[str, float] and isinstance(value, dict):
        return {_convert(k, str): _convert(v, float) for k, v in value.items()}
    raise TypeError
