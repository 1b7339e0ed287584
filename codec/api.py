"""The codec as Python sees it: arrays to tokens or bytes, and back."""

from __future__ import annotations

import io
import operator
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from codec import audio as audio_
from codec.backend import DEFAULT_WEIGHTS, Backend, load_backend
from codec.config import ModelConfig
from codec.container import read_tokens, write_tokens
from codec.errors import AudioError, BitrateError, ModelError
from codec.tokens import Tokens


class Codec:
    """A model, ready to encode and decode. Made by `codec.load`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @property
    def config(self) -> ModelConfig:
        """The dimensions of the model: sample and frame rate, codebooks."""
        return self._backend.config

    @property
    def model_id(self) -> bytes:
        """The 8 bytes that name the weights."""
        return self._backend.model_id

    def codebooks_for(self, bitrate: float) -> int:
        """The most codebooks that one channel can have at `bitrate` bits a second.

        Raises BitrateError below the rate of one codebook and above that of all.
        """
        config = self.config
        each, most = config.bitrate_per_codebook, config.n_codebooks
        ratio = bitrate / each + 1e-6  # for what the division misses by its last bit
        if not 1 <= ratio <= most + 2e-6:
            choices = ", ".join(f"{n * each / 1000:g}" for n in range(1, most + 1))
            raise BitrateError(
                f"{bitrate / 1000:g} kbit/s a channel is not to be had; choose from {choices}"
            )
        return int(ratio)

    def encode(
        self,
        audio: npt.ArrayLike,
        sample_rate: int,
        n_codebooks: int | None = None,
        bitrate: float | None = None,
    ) -> Tokens:
        """Tokens of `audio`, each channel by itself.

        audio: float32 or float64 with full scale ±1, or int16; [samples] or [channels, samples],
            1 to 255 channels. Values beyond ±1 are coded as they are.
        sample_rate: of `audio`, in Hz. Another rate than the model's is resampled (soxr, HQ).
        n_codebooks, bitrate: at most one of them; the bitrate in bits a second for one channel
            stands for the most codebooks that fit. By default all codebooks.

        The tokens have exactly ceil(r / config.hop_length) frames, where r = ceil(samples *
        config.sample_rate / sample_rate). Raises AudioError or BitrateError.
        """
        rate = _integer_rate(sample_rate)
        count = self._n_codebooks(n_codebooks, bitrate)
        channels = audio_.as_channels(audio)
        config = self.config
        codes = [
            self._backend.encode(audio_.resample(channel, rate, config.sample_rate), count)
            for channel in channels
        ]
        return Tokens(
            codes=np.stack(codes),
            frame_rate=config.frame_rate,
            n_samples=channels.shape[1],
            sample_rate=rate,
            codebook_size=config.codebook_size,
            model_id=self.model_id,
        )

    def decode(self, tokens: Tokens) -> npt.NDArray[np.float32]:
        """Audio float32 [channels, tokens.n_samples] at `tokens.sample_rate`, full scale ±1.

        Raises ModelError if another model made the tokens.
        """
        self._check_model(tokens)
        config, rate, samples = self.config, tokens.sample_rate, tokens.n_samples
        length = audio_.resampled_length(samples, rate, config.sample_rate)
        audio = np.empty((tokens.channels, samples), np.float32)
        for channel, codes in zip(audio, tokens.codes, strict=True):
            decoded = audio_.fit(self._backend.decode(codes), length)
            channel[:] = audio_.resample(decoded, config.sample_rate, rate, samples)
        return audio

    def compress(
        self,
        audio: npt.ArrayLike,
        sample_rate: int,
        n_codebooks: int | None = None,
        bitrate: float | None = None,
    ) -> bytes:
        """`audio` as the bytes of a .nac file; the arguments are those of `encode`."""
        file = io.BytesIO()
        write_tokens(file, self.encode(audio, sample_rate, n_codebooks, bitrate))
        return file.getvalue()

    def decompress(self, data: bytes) -> tuple[npt.NDArray[np.float32], int]:
        """Audio float32 [channels, samples] and its rate in Hz from the bytes of a .nac file.

        Raises FormatError on damaged bytes, ModelError if another model made them.
        """
        tokens = read_tokens(io.BytesIO(data))
        return self.decode(tokens), tokens.sample_rate

    def _n_codebooks(self, n_codebooks: int | None, bitrate: float | None) -> int:
        if bitrate is not None:
            if n_codebooks is not None:
                raise BitrateError("choose a bitrate or a number of codebooks, not both")
            return self.codebooks_for(bitrate)
        if n_codebooks is None:
            return self.config.n_codebooks
        if not 1 <= n_codebooks <= self.config.n_codebooks:
            raise BitrateError(
                f"{n_codebooks} codebooks; the model has 1 to {self.config.n_codebooks}"
            )
        return operator.index(n_codebooks)

    def _check_model(self, tokens: Tokens) -> None:
        config = self.config
        if tokens.model_id != self.model_id:
            raise ModelError(
                f"made with model {tokens.model_id.hex()}, but this is {self.model_id.hex()}"
            )
        if (
            tokens.n_codebooks > config.n_codebooks
            or tokens.codebook_size != config.codebook_size
            or tokens.exact_frame_rate != Fraction(config.sample_rate, config.hop_length)
        ):
            raise ModelError("these tokens bear the model's name but not its dimensions")


def load(model: str | Path = "default", backend: Backend | None = None) -> Codec:
    """A codec with the weights that the package ships, or those of a .safetensors file.

    model: "default" or the path of the weights. backend: an engine already made, used as it is.
    Raises ModelError if the weights are missing or damaged, or cannot run here.
    """
    if backend is None:
        backend = load_backend(DEFAULT_WEIGHTS if model == "default" else Path(model))
    return Codec(backend)


def _integer_rate(sample_rate: int) -> int:
    try:
        rate = operator.index(sample_rate)
    except TypeError:
        raise AudioError(f"the sample rate must be whole Hz, not {sample_rate!r}") from None
    audio_.check_sample_rate(rate)
    return rate
