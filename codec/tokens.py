"""Tokens: audio as codes, with all that is needed to turn it back into audio."""

from __future__ import annotations

import dataclasses
import io
import os
from collections.abc import Callable
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from codec.coders.base import Coder
from codec.errors import FormatError, OutputError, TokensError
from codec.model.identity import MODEL_ID_BYTES
from codec.model.limits import (
    MAX_CHANNELS,
    MAX_CODEBOOK_SIZE,
    MAX_CODEBOOKS,
    MAX_FRAME_RATE_DENOMINATOR,
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    frames_for,
)
from codec.model.location import weights_for
from codec.nac.coders import Coders
from codec.nac.layout import Header
from codec.nac.reader import FindCoder, Reader, own_coder
from codec.nac.writer import Writer
from codec.support.arguments import as_array, as_bool, as_path, real, shown, whole
from codec.support.atomic import replacing
from codec.support.types import Codes


@dataclasses.dataclass(frozen=True, eq=False)
class Tokens:
    """Audio as codes, one stream of them for each channel, or for each two channels.

    codes: uint16 [streams, codebooks, frames], each below `codebook_size`. Codebooks are nested,
        coarse to fine: any prefix of them decodes (`first`).
    frame_rate: frames a second.
    n_samples: samples of each channel of the audio, at its own rate `sample_rate` in Hz.
    model_id: the 8 bytes that name the weights which made the codes (`codec.model.identity`).
    together: channels that a stream carries, as the model has them (`ModelConfig.channels`): 1, so
        that streams are channels, or 2.
    lone: whether the last stream carries a single channel all the same, because their number is
        odd; it was coded as two equal ones.

    Numbers may be of any library. Raises TokensError if the fields do not fit each other; a frame
    too many or too few for `n_samples` is an error too, so a Tokens that exists can be decoded to
    exactly its length. `Codec.tokens` makes one from bare codes.
    """

    codes: npt.NDArray[np.uint16]
    frame_rate: float
    n_samples: int
    sample_rate: int
    codebook_size: int
    model_id: bytes
    together: int = 1
    lone: bool = False

    def __post_init__(self) -> None:
        codes = self.codes
        if not isinstance(codes, np.ndarray) or codes.dtype.newbyteorder("=") != np.uint16:
            raise TokensError("codes must be a uint16 array; model.tokens(codes) takes others")
        if codes.ndim != 3:
            raise TokensError(f"codes must be [channels, codebooks, frames], not {codes.ndim}-D")
        codes = codes.astype(np.uint16, copy=False)  # big-endian ones
        n_samples = whole(self.n_samples, "n_samples", TokensError)
        sample_rate = whole(self.sample_rate, "the sample rate", TokensError)
        codebook_size = whole(self.codebook_size, "the codebook size", TokensError)
        frame_rate = real(self.frame_rate, "the frame rate", TokensError)
        if not isinstance(self.model_id, bytes | bytearray | memoryview | np.void):
            raise TokensError(f"model_id must be 8 bytes, not {shown(self.model_id)}")
        model_id = bytes(self.model_id)
        together = whole(self.together, "together", TokensError)
        lone = as_bool(self.lone, "lone", TokensError)
        for name, value in (
            ("codes", codes),
            ("n_samples", n_samples),
            ("sample_rate", sample_rate),
            ("codebook_size", codebook_size),
            ("frame_rate", frame_rate),
            ("model_id", model_id),
            ("together", together),
            ("lone", lone),
        ):
            object.__setattr__(self, name, value)  # frozen from here on
        if together not in (1, 2) or (lone and together == 1):
            raise TokensError("a stream carries 1 or 2 channels, and a lone one is of 2")
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise TokensError(f"{self.channels} channels; 1 to {MAX_CHANNELS} can be coded")
        if not 1 <= self.n_codebooks <= MAX_CODEBOOKS:
            raise TokensError(f"{self.n_codebooks} codebooks; 1 to {MAX_CODEBOOKS} can be coded")
        if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
            raise TokensError(f"a sample rate of {sample_rate} Hz is out of range")
        if not 2 <= codebook_size <= MAX_CODEBOOK_SIZE:
            raise TokensError(f"a codebook of {codebook_size} entries is out of range")
        if len(model_id) != MODEL_ID_BYTES:
            raise TokensError(f"model_id must be {MODEL_ID_BYTES} bytes, not {len(model_id)}")
        if n_samples < 1:
            raise TokensError("there are no samples")
        if not 1 / MAX_FRAME_RATE_DENOMINATOR <= frame_rate <= sample_rate:
            raise TokensError(f"a frame rate of {frame_rate} Hz is out of range")
        frames = frames_for(n_samples, sample_rate, self.exact_frame_rate)
        if self.n_frames != frames:
            raise TokensError(
                f"{self.n_frames} frames, but {n_samples} samples at {sample_rate} Hz make {frames}"
            )
        if int(codes.max()) >= codebook_size:
            raise TokensError(f"code {codes.max()} in a codebook of {codebook_size} entries")

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
            self.model_id,
            self.together,
            self.lone,
        )

    @property
    def channels(self) -> int:
        """Channels of the audio."""
        return self.streams * self.together - self.lone

    @property
    def streams(self) -> int:
        """Streams of codes."""
        return int(self.codes.shape[0])

    @property
    def n_codebooks(self) -> int:
        """Codebooks of every frame."""
        return int(self.codes.shape[1])

    @property
    def n_frames(self) -> int:
        """Frames of every stream."""
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
        """Bits that a code takes without entropy coding."""
        return (self.codebook_size - 1).bit_length()

    @property
    def bitrate(self) -> float:
        """Bits a second of all channels together."""
        return self.streams * self.n_codebooks * self.bits_per_code * self.frame_rate

    def first(self, n_codebooks: int) -> Tokens:
        """Keep the `n_codebooks` coarsest codebooks: the same audio, fewer bits, lower quality.

        Raises TokensError if there are fewer.
        """
        count = whole(n_codebooks, "n_codebooks", TokensError)
        if not 1 <= count <= self.n_codebooks:
            raise TokensError(f"no {count} codebooks to keep of {self.n_codebooks}")
        return dataclasses.replace(self, codes=self.codes[:, :count].copy())

    def save(self, target: str | os.PathLike[str] | BinaryIO) -> None:
        """Write the tokens to a path, or to a binary file, as a .nac file of raw codes.

        The format is that of `codec compress --effort raw`, described in docs/format.md: every
        byte is under a checksum, the length and the rates are exact, and `codec info`, `verify`,
        `trim` and `decompress` read it. No entropy coder packs the codes, so that `load` needs no
        model. A file at that path is replaced once the new one is whole. Raises OSError, or
        OutputError if something other than a file lies there, or `target` is neither.
        """
        if not isinstance(target, str | os.PathLike):
            if not hasattr(target, "write") or isinstance(target, io.TextIOBase):
                raise OutputError(f"target must be a path or a binary file, not {shown(target)}")
            write_tokens(target, self)
            return
        path = as_path(target, "target", OutputError)
        with replacing(path, overwrite=True) as aside, aside.open("wb") as file:
            write_tokens(file, self)

    @classmethod
    def load(
        cls, source: str | os.PathLike[str] | BinaryIO, *, model: str | os.PathLike[str] = "default"
    ) -> Tokens:
        """Read the tokens of a .nac file from a path or a binary file.

        model: for a file of a model that the package does not ship, the path of the weights that
            made it, beside which the data of its entropy coder lie. What `save` wrote needs none.

        Raises FormatError on a damaged file, on what is neither a path nor a file, and on a file
        whose bitrate varies, as its codes are no array; ModelError if the coder's data are missing
        or of another model; OSError.
        """

        def find_coder(header: Header) -> Coder:
            return Coders(weights_for(model, header.model_id), header.model_id).of(header)

        if not isinstance(source, str | os.PathLike):
            if not hasattr(source, "read") or isinstance(source, io.TextIOBase):
                raise FormatError(f"source must be a path or a binary file, not {shown(source)}")
            return read_tokens(source, find_coder)
        with as_path(source, "source", FormatError).open("rb") as file:
            return read_tokens(file, find_coder)


def as_codes(codes: Any, n_codebooks: int, codebook_size: int) -> Codes:
    """Convert `codes` to uint16 [streams, codebooks, frames].

    codes: integers of any dtype, [codebooks, frames] or [streams, codebooks, frames]: a NumPy
        array, lists, or a PyTorch tensor.
    Raises TokensError on another shape or dtype, no codes, more than `n_codebooks` codebooks, or a
    code that is not 0 to `codebook_size` - 1.
    """
    try:
        array = as_array(codes)
    except ValueError as error:
        raise TokensError(f"codes are no array of integers: {error}") from None
    if isinstance(codes, Tokens):
        raise TokensError("these are Tokens already; decode takes them as they are")
    if array.dtype.kind not in "iu":
        raise TokensError(f"codes must be integers, not {array.dtype}")
    if array.ndim not in (2, 3):
        raise TokensError(
            "codes must be [codebooks, frames] or [channels, codebooks, frames],"
            f" not {array.ndim}-D"
        )
    array = array if array.ndim == 3 else array[None]
    channels, count, frames = array.shape
    if not array.size:
        raise TokensError(f"no codes: {channels} channels, {count} codebooks, {frames} frames")
    if count > n_codebooks:
        raise TokensError(
            f"{count} codebooks, the model has {n_codebooks}; codes are [codebooks, frames] or"
            " [channels, codebooks, frames]"
        )
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= codebook_size:
        raise TokensError(f"code {low if low < 0 else high} is outside 0 to {codebook_size - 1}")
    return np.array(array, np.uint16, order="C")  # a copy: the caller may go on with its own


def header_of(tokens: Tokens) -> Header:
    """Make the header of a file that holds `tokens`."""
    return Header.make(
        channels=tokens.channels,
        n_codebooks=tokens.n_codebooks,
        codebook_size=tokens.codebook_size,
        frame_rate=tokens.exact_frame_rate,
        sample_rate=tokens.sample_rate,
        model_id=tokens.model_id,
        n_samples=tokens.n_samples,
        together=tokens.together,
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
    """Read the tokens of one file.

    Raises FormatError; also if the file's bitrate varies, as its codes are then no array.
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
        together=header.together,
        lone=header.channels % header.together != 0,
    )
