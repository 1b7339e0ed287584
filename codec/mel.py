"""Log-mel spectra: Whisper's (Radford et al., 2022, section 2.2), torchaudio's, librosa's, others'.

    log_mel(audio)                          # Whisper's, 80 bins
    log_mel(audio, "speech-40hz")           # a preset
    log_mel(audio, MelSpec.librosa(22_050)) # any
    MelStream(spec)                         # the same bits, while the audio still comes

Every backend but torch gives the same bits on every CPU, in any batch and any chunks.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt

from codec.errors import AudioError, BackendError, SpecError, StateError
from codec.kernels import mel_exact
from codec.kernels.choose import load, resolve
from codec.kernels.mel_spec import (
    PRESETS,
    SPEECH_40HZ,
    WHISPER_80,
    WHISPER_128,
    MelSpec,
    find_spec,
    first_top,
    log_scale,
    mel_filters,
    mel_window,
)
from codec.support.arguments import as_bool, named_array

__all__ = [
    "PRESETS",
    "SPEECH_40HZ",
    "WHISPER_80",
    "WHISPER_128",
    "MelSpec",
    "MelStream",
    "find_spec",
    "log_mel",
    "log_scale",
    "mel_filters",
    "mel_window",
]

Floats = npt.NDArray[np.float32]


def log_mel(
    audio: npt.ArrayLike,
    spec: MelSpec | str = WHISPER_80,
    *,
    backend: str | None = None,
    frame_major: bool = False,
    out: Floats | None = None,
) -> Floats:
    """Log-mel spectrum of each clip.

    audio: floats in [-1, 1] or int16, [..., samples] at `spec.sample_rate`. Returns float32
    [..., n_mels, frames], or with `frame_major` [..., frames, n_mels], `spec.n_frames(samples)`
    frames; every clip's result is that of the clip alone. It is written to `out` if that is given,
    a C-contiguous float32 array of that shape. Audio whose samples lie side by side is not copied.

    (Whisper pads every clip to 30 s of zeros before this; do so for its encoder.)

    "native" and "numba" give the same bits on every CPU, "torch" the same up to rounding.

    Raises AudioError on audio that is empty, of another dtype, not finite or beyond 1e12 in
    magnitude (then nothing can be said of what `out` holds), or an `out` that does not fit;
    SpecError on an unknown preset; BackendError on a backend that cannot run here.
    """
    spec = find_spec(spec)
    if resolve(backend) != "torch":
        return mel_exact.log_mel(audio, spec, backend=backend, frame_major=frame_major, out=out)
    clips = mel_exact.check_clips(audio)
    mel = mel_exact.result_for(spec, clips, frame_major, out)
    mel_exact.check_finite(clips)
    flat = clips.reshape(-1, clips.shape[-1])
    samples = load("torch").tensor(mel_exact.in_float32(flat))
    of_torch = load("codec.kernels.torch_ops").log_mel(samples, spec)
    mel.reshape(len(flat), *mel.shape[-2:])[:] = of_torch.mT if frame_major else of_torch
    return mel


class MelStream:
    """`log_mel` of audio that arrives bit by bit: the frames of all calls are those of the whole.

        stream = MelStream("speech-40hz")
        for samples in source:
            use(stream.push(samples))
        use(stream.flush())

    A frame is given as soon as all samples under it have been heard. Bit for bit the frames are
    `log_mel`'s of the whole audio, which for a spec whose frames hang on the clip's maximum is not
    possible: such a one (Whisper's) is refused. For it, `dataclasses.replace(spec, ...)`
    `dynamic_range=None` (all that the floor leaves; the clip's maximum can be applied afterwards),
    `maximum="running"`, or `maximum=1.5` or another that suits the audio.

    Raises SpecError on such a spec, BackendError on a backend that cannot run here, or "torch".
    """

    def __init__(
        self,
        spec: MelSpec | str,
        *,
        backend: str | None = None,
        frame_major: bool = False,
    ) -> None:
        self.spec = find_spec(spec)
        if self.spec.needs_clip:
            raise SpecError(
                "no frame is final before the clip ends: for a stream the spec needs "
                "dynamic_range=None, or maximum='running' or a number"
            )
        self._backend = resolve(backend)
        if self._backend == "torch":
            raise BackendError("streams run on 'native' or 'numba', not on 'torch'")
        self._frame_major = as_bool(frame_major, "frame_major", AudioError)
        self._samples = np.empty(0, np.float32)  # the end of what was heard
        self._heard = 0
        self._given = 0  # frames
        self._tops = np.array([first_top(self.spec)], np.float32)
        self._ended = False

    def push(self, samples: npt.ArrayLike) -> Floats:
        """Hears floats or int16 samples [any number], and gives the frames that are whole.

        Returns float32 [n_mels, frames], or with `frame_major` [frames, n_mels]. Raises AudioError
        as `log_mel` does, the stream being as before; StateError after `flush`.
        """
        if self._ended:
            raise StateError("the stream has ended")
        new = named_array(samples, "audio", AudioError)
        if new.ndim != 1:
            raise AudioError(f"samples are [samples], not {list(new.shape)}")
        if new.size == 0:
            return self._frames(0, self._samples, 0, self._tops)
        heard = self._heard + len(new)
        joined = np.concatenate([self._samples, mel_exact.in_float32(mel_exact.check_clips(new))])
        spec = self.spec
        # Frame t is whole when n_fft samples from t hop - pad on are heard, and, if it is one that
        # begins before the clip, the pad + 1 that are reflected there.
        room = heard + spec.pad - spec.n_fft
        whole = min(room // spec.hop_length + 1, spec.n_frames(heard))
        if room < 0 or heard <= spec.pad:
            whole = 0
        tops = self._tops.copy()
        mel = self._frames(max(whole - self._given, 0), joined, heard, tops)
        self._heard, self._tops, self._given = heard, tops, max(whole, self._given)
        # Kept are the samples under the next frame, and those that the end will reflect.
        keep_from = max(min(self._given * spec.hop_length - spec.pad, heard - spec.pad - 1), 0)
        self._samples = joined[len(joined) - min(heard - keep_from, len(joined)) :].copy()
        return mel

    def flush(self) -> Floats:
        """Ends the audio, and gives the frames that reach past it, shaped like those of `push`."""
        if self._ended:
            raise StateError("the stream has ended")
        self._ended = True
        left = self.spec.n_frames(self._heard) - self._given
        return self._frames(left, self._samples, self._heard, self._tops)

    def _frames(self, n: int, samples: Floats, heard: int, tops: Floats) -> Floats:
        """The next n frames, of samples that are the last of `heard`."""
        spec = self.spec
        mel = np.empty(
            (1, n, spec.n_mels) if self._frame_major else (1, spec.n_mels, n), np.float32
        )
        first = self._given * spec.hop_length - spec.pad - (heard - len(samples))
        mel_exact.run(self._backend, spec, samples[None], first, tops, mel, self._frame_major)
        return cast(Floats, mel[0])
