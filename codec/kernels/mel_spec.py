"""Describes a log-mel front end, and makes the tables that every kernel reads for it."""

from __future__ import annotations

import dataclasses
import functools
import math
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from codec.errors import SpecError
from codec.kernels.mel_filters import WINDOWS, filters, window
from codec.kernels.mel_tables import TOPS, MelTables, bands, factors, rfft_tables

Floats = npt.NDArray[np.float32]

MAX_N_FFT = 1 << 16

# Factor and summand that turn log10 of power into each kind of logarithm.
_LOGS = {"log10": (1.0, 0.0), "ln": (math.log(10), 0.0), "db": (10.0, 0.0), "whisper": (0.25, 1.0)}


@dataclasses.dataclass(frozen=True)
class MelSpec:
    """A log-mel front end: everything besides the audio that its output depends on.

    The defaults are Whisper's; `MelSpec.torchaudio` and `MelSpec.librosa` have those libraries'.

    sample_rate  of the audio, Hz
    n_fft        samples of a frame: a product of 2s, 3s and 5s, at least 3
    hop_length   samples from one frame to the next
    n_mels       triangular filters, evenly spaced on the mel scale from `fmin` to `fmax` Hz (None:
                 half the sample rate)
    scale        "slaney" (Auditory Toolbox) or "htk"
    norm         "slaney": filters of equal area, 2 / width high; None: all 1 high
    power        2: of power spectra; 1: of magnitudes
    win_length   samples under the window (None: n_fft), in the middle of the frame
    window       "hann", "hamming", "blackman", all periodic, or "ones"
    center       frame t is centred on sample t * hop_length, and the clip continued by
                 n_fft // 2 samples at both ends; else it starts there, and ends within the clip
    padding      how it is continued: "reflect", or "zeros". Reflection needs more than n_fft // 2
                 samples; a shorter clip is first continued with zeros to n_fft // 2 + 1
    drop_last    without the last frame, as Whisper has it
    log          of x = max(mel, floor): "log10", "ln", "db" (10 log10 x; 20 log10 x of magnitudes),
                 "whisper" ((log10 x + 4) / 4), or None: mel as it is, with no floor
    floor        the least that has a logarithm of its own
    dynamic_range  decades of x that are kept below `maximum`; what is lower is raised to there.
                 None: all
    maximum      the log10 x that the range hangs from: the "clip"'s highest, as Whisper and
                 AmplitudeToDB have it; the "running" one, of this frame and those before it; or
                 a number

    With the clip's maximum no frame is final before the clip has ended, which a stream cannot wait
    for. `replace(spec, dynamic_range=None)`, or another `maximum`, is what `MelStream` takes.

    Raises SpecError on values that make no sense or are not implemented.
    """

    sample_rate: int = 16_000
    n_fft: int = 400
    hop_length: int = 160
    n_mels: int = 80
    fmin: float = 0.0
    fmax: float | None = None
    scale: Literal["slaney", "htk"] = "slaney"
    norm: Literal["slaney"] | None = "slaney"
    power: float = 2
    win_length: int | None = None
    window: Literal["hann", "hamming", "blackman", "ones"] = "hann"
    center: bool = True
    padding: Literal["reflect", "zeros"] = "reflect"
    drop_last: bool = True
    log: Literal["log10", "ln", "db", "whisper"] | None = "whisper"
    floor: float = 1e-10
    dynamic_range: float | None = 8.0
    maximum: float | Literal["clip", "running"] = "clip"

    def __post_init__(self) -> None:
        for name in ("sample_rate", "n_fft", "hop_length", "n_mels"):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or not 1 <= value < 1 << 31:
                raise SpecError(f"{name} is a whole number, at least 1, not {value!r}")
        if not 3 <= self.n_fft <= MAX_N_FFT or factors(self.n_fft) is None:
            raise SpecError(
                f"n_fft is a product of 2s, 3s and 5s, 3 to {MAX_N_FFT}, not {self.n_fft}"
            )
        if not 1 <= self.under_window <= self.n_fft:
            raise SpecError(f"win_length is 1 to n_fft = {self.n_fft}, not {self.win_length}")
        if not 0 <= self.fmin < self.top <= self.sample_rate / 2:
            raise SpecError(
                f"0 <= fmin < fmax <= {self.sample_rate / 2} Hz, not {self.fmin} and {self.top}"
            )
        for name, allowed in (
            ("scale", ("slaney", "htk")),
            ("norm", ("slaney", None)),
            ("power", (1, 2)),
            ("window", tuple(WINDOWS)),
            ("padding", ("reflect", "zeros")),
            ("log", (*_LOGS, None)),
        ):
            if getattr(self, name) not in allowed:
                choice = ", ".join(map(repr, allowed))
                raise SpecError(f"{name} is one of {choice}, not {getattr(self, name)!r}")
        if not np.finfo(np.float32).tiny <= self.floor <= np.finfo(np.float32).max:
            raise SpecError(f"floor is positive, a normal float32, not {self.floor}")
        if self.dynamic_range is not None and not 0 < self.dynamic_range < math.inf:
            raise SpecError(f"dynamic_range is positive, or None, not {self.dynamic_range}")
        if self.maximum not in ("clip", "running") and not (
            isinstance(self.maximum, (int, float)) and math.isfinite(self.maximum)
        ):
            raise SpecError(f"maximum is 'clip', 'running' or a number, not {self.maximum!r}")

    @classmethod
    def torchaudio(cls, sample_rate: int = 16_000, **changes: Any) -> MelSpec:
        """Return torchaudio.transforms.MelSpectrogram's defaults with `changes`, named as here."""
        names: dict[str, Any] = {"n_mels": 128, "scale": "htk", "norm": None, **changes}
        names.setdefault("hop_length", (names.get("win_length") or names.get("n_fft", 400)) // 2)
        return cls(sample_rate, **{**_PLAIN, "fmax": float(sample_rate // 2), **names})

    @classmethod
    def librosa(cls, sample_rate: int = 22_050, **changes: Any) -> MelSpec:
        """Return librosa.feature.melspectrogram's defaults with `changes`, named as here."""
        names: dict[str, Any] = {"n_fft": 2048, "hop_length": 512, "n_mels": 128, **changes}
        return cls(sample_rate, **{**_PLAIN, "padding": "zeros", **names})

    @property
    def top(self) -> float:
        """The upper edge of the highest filter, Hz."""
        return self.sample_rate / 2 if self.fmax is None else self.fmax

    @property
    def under_window(self) -> int:
        """Samples under the window."""
        return self.n_fft if self.win_length is None else self.win_length

    @property
    def pad(self) -> int:
        """Samples by which a clip is continued at each end."""
        return self.n_fft // 2 if self.center else 0

    @property
    def needs_clip(self) -> bool:
        """Whether no frame is final before the clip has ended."""
        return self.log is not None and self.dynamic_range is not None and self.maximum == "clip"

    def n_frames(self, n_samples: int) -> int:
        """Return the frames of a clip; Whisper's are n_samples // hop_length."""
        room = n_samples + 2 * self.pad - self.n_fft
        frames = room // self.hop_length + 1 if n_samples and room >= 0 else 0
        return max(frames - int(self.drop_last), 0)


_PLAIN: dict[str, Any] = {"drop_last": False, "log": None, "dynamic_range": None}

WHISPER_80 = MelSpec()
WHISPER_128 = MelSpec(n_mels=128)  # large-v3
# One frame per 25 ms, 2,400 a minute, each under a window of 50 ms; final as soon as it is heard.
SPEECH_40HZ = MelSpec(n_fft=800, hop_length=400, log="log10", dynamic_range=None)

PRESETS = MappingProxyType(
    {"whisper-80": WHISPER_80, "whisper-128": WHISPER_128, "speech-40hz": SPEECH_40HZ}
)


def find_spec(spec: MelSpec | str) -> MelSpec:
    """Return the preset of that name, or the spec itself. Raises SpecError on an unknown name."""
    if isinstance(spec, MelSpec):
        return spec
    if not isinstance(spec, str) or spec not in PRESETS:
        raise SpecError(f"spec is a MelSpec, or one of {', '.join(PRESETS)}, not {spec!r}")
    return PRESETS[spec]


def mel_filters(spec: MelSpec) -> Floats:
    """Return the filters of a spec, [n_mels, n_fft // 2 + 1]."""
    area = spec.norm == "slaney"
    mel = filters(spec.sample_rate, spec.n_fft, spec.n_mels, spec.fmin, spec.top, spec.scale, area)
    return mel.astype(np.float32)


def mel_window(spec: MelSpec) -> Floats:
    """Return the window of a spec, [n_fft]."""
    return window(spec.window, spec.under_window, spec.n_fft).astype(np.float32)


def log_scale(spec: MelSpec) -> tuple[float, float]:
    """Return (factor, summand) that turn log10 of mel into what `spec.log` names."""
    if spec.log is None:
        return 1.0, 0.0
    if spec.log == "db" and spec.power == 1:
        return 20.0, 0.0
    return _LOGS[spec.log]


def first_top(spec: MelSpec) -> float:
    """Return the maximum before any frame."""
    fixed = spec.dynamic_range is not None and not isinstance(spec.maximum, str)
    return float(spec.maximum) if fixed else -math.inf


@functools.lru_cache(maxsize=16)
def tables(spec: MelSpec) -> MelTables:
    """Return everything besides the audio that a kernel reads."""
    limited = spec.log is not None and spec.dynamic_range is not None
    kind = spec.maximum if limited and isinstance(spec.maximum, str) else "fixed"
    scale, offset = log_scale(spec)
    start, size, weights = bands(mel_filters(spec))
    return MelTables(
        fft=rfft_tables(mel_window(spec)),
        hop_length=spec.hop_length,
        pad=spec.pad,
        band_start=start,
        band_size=size,
        band_weights=weights,
        reflect=spec.padding == "reflect",
        magnitude=spec.power == 1,
        log=spec.log is not None,
        top=TOPS.index(kind),
        floor=spec.floor,
        range=0.0 if spec.dynamic_range is None else spec.dynamic_range,
        scale=scale,
        offset=offset,
    )
