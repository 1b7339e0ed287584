"""Tokens: what audio becomes, with all that is needed to turn it back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from codec.coders.base import Coder
from codec.errors import FormatError, TokensError
from codec.model.limits import (
    MAX_CHANNELS,
    MAX_CODEBOOK_SIZE,
    MAX_CODEBOOKS,
    MAX_FRAME_RATE_DENOMINATOR,
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    frames_for,
)
from codec.nac.layout import Header
from codec.nac.reader import FindCoder, Reader, own_coder
from codec.nac.writer import Writer

Codes = npt.NDArray[np.uint16]


@dataclasses.dataclass(frozen=True, eq=False)
class Tokens:
    """Audio as codes, one residual vector quantiser per channel.

    codes: uint16 [channels, codebooks, frames], each below `codebook_size`. Codebooks are nested,
        coarse to fine: any prefix of them decodes (`first`).
    frame_rate: frames a second.
    n_samples: samples of each channel of the audio, at its own rate `sample_rate` in Hz.
    model_id: the 8 bytes that name the weights which made the codes (`codec.model_id`).

    Raises TokensError if the fields do not fit each other; a frame too many or too few for
    `n_samples` is an error too, so a Tokens that exists can be decoded to exactly its length.
    """

    codes: npt.NDArray[np.uint16]
    frame_rate: float
    n_samples: int
    sample_rate: int
    codebook_size: int
    model_id: bytes

    def __post_init__(self) -> None:
        codes = self.codes
        if not isinstance(codes, np.ndarray) or codes.dtype != np.uint16 or codes.ndim != 3:
            raise TokensError("codes must be a uint16 array [channels, codebooks, frames]")
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise TokensError(f"{self.channels} channels; 1 to {MAX_CHANNELS} can be coded")
        if not 1 <= self.n_codebooks <= MAX_CODEBOOKS:
            raise TokensError(f"{self.n_codebooks} codebooks; 1 to {MAX_CODEBOOKS} can be coded")
        if not MIN_SAMPLE_RATE <= self.sample_rate <= MAX_SAMPLE_RATE:
            raise TokensError(f"a sample rate of {self.sample_rate} Hz is out of range")
        if not 2 <= self.codebook_size <= MAX_CODEBOOK_SIZE:
            raise TokensError(f"a codebook of {self.codebook_size} entries is out of range")
        if len(self.model_id) != 8:
            raise TokensError("model_id must be 8 bytes")
        if self.n_samples < 1:
            raise TokensError("there are no samples")
        if not 1 / MAX_FRAME_RATE_DENOMINATOR <= self.frame_rate <= self.sample_rate:
            raise TokensError(f"a frame rate of {self.frame_rate} Hz is out of range")
        frames = frames_for(self.n_samples, self.sample_rate, self.exact_frame_rate)
        if self.n_frames != frames:
            raise TokensError(
                f"{self.n_frames} frames, but {self.n_samples} samples at {self.sample_rate} Hz"
                f" make {frames}"
            )
        if int(codes.max()) >= self.codebook_size:
            raise TokensError(f"code {codes.max()} in a codebook of {self.codebook_size} entries")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokens):
            return NotImplemented
        return self._scalars() == other._scalars() and np.array_equal(self.codes, other.codes)

    def _scalars(self) -> tuple[object, ...]:
        return (
            self.frame_rate,
            self.n_samples,
            self.sample_rate,
            self.codebook_size,
            bytes(self.model_id),
        )

    @property
    def channels(self) -> int:
        return int(self.codes.shape[0])

    @property
    def n_codebooks(self) -> int:
        return int(self.codes.shape[1])

    @property
    def n_frames(self) -> int:
        return int(self.codes.shape[2])

    @property
    def exact_frame_rate(self) -> Fraction:
        """The frame rate as the ratio p / q that `frame_rate` was rounded from.

        Two ratios of denominators up to Q = 2^16 are at least 1 / Q^2 = 2^-32 apart, and rounding
        to float64 moves one below 2^20 by at most 2^-34: the nearest such ratio is the right one.
        """
        return Fraction(self.frame_rate).limit_denominator(MAX_FRAME_RATE_DENOMINATOR)

    @property
    def duration(self) -> float:
        """Seconds of audio."""
        return self.n_samples / self.sample_rate

    @property
    def bits_per_code(self) -> int:
        return (self.codebook_size - 1).bit_length()

    @property
    def bitrate(self) -> float:
        """Bits a second of all channels together."""
        return self.channels * self.n_codebooks * self.bits_per_code * self.frame_rate

    def first(self, n_codebooks: int) -> Tokens:
        """The same audio from its `n_codebooks` coarsest codebooks: fewer bits, lower quality."""
        if not 1 <= n_codebooks <= self.n_codebooks:
            raise TokensError(f"no {n_codebooks} codebooks to keep of {self.n_codebooks}")
        return dataclasses.replace(self, codes=self.codes[:, :n_codebooks])


def header_of(tokens: Tokens) -> Header:
    """The header of a file that holds `tokens`."""
    return Header.make(
        channels=tokens.channels,
        n_codebooks=tokens.n_codebooks,
        codebook_size=tokens.codebook_size,
        frame_rate=tokens.exact_frame_rate,
        sample_rate=tokens.sample_rate,
        model_id=tokens.model_id,
        n_samples=tokens.n_samples,
    )


def write_tokens(
    file: BinaryIO,
    tokens: Tokens,
    coder: Coder | None = None,
    choose: Callable[[Codes], int] | None = None,
) -> None:
    """Write `tokens` as one file; coder and choose: as for a `Writer`."""
    writer = Writer(file, header_of(tokens), coder, choose=choose)
    writer.write(tokens.codes)
    writer.finish(tokens.n_samples)


def read_tokens(file: BinaryIO, find_coder: FindCoder = own_coder) -> Tokens:
    """The tokens of one file.

    Raises FormatError; also if the file's bitrate varies, so that they are not one array.
    """
    reader = Reader(file, find_coder)
    if reader.header.variable:
        raise FormatError("its bitrate varies: its codes are not one array")
    # At least one chunk: no frames would be no samples, which the reader refuses.
    codes = np.concatenate(list(reader), axis=2)
    header = reader.finish()
    return Tokens(
        codes=np.ascontiguousarray(codes),
        frame_rate=float(header.frame_rate),
        n_samples=header.length,
        sample_rate=header.sample_rate,
        codebook_size=header.codebook_size,
        model_id=header.model_id,
    )
