"""Write the page of one .nac file: its content, its bits over time, and its audio."""

from __future__ import annotations

import dataclasses
import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codec.api import Codec, load
from codec.audio import resample, write_audio
from codec.benchmark.clips import SAMPLE_RATE
from codec.benchmark.images import COLOURS, data_uri, palette_png, spectrogram
from codec.benchmark.page import render
from codec.benchmark.tokens import codebook_use
from codec.coders.base import CODER_NAMES
from codec.errors import AudioError
from codec.files.inspect import Info, inspect_file
from codec.nac.reader import Reader, decode_chunk
from codec.quality.pair import Audio
from codec.support.atomic import replacing
from codec.support.terminal import shown as printable
from codec.support.types import Codes

COLUMNS = 900  # in a drawing
MAP_ROW = 6  # pixels per codebook in the token map


@dataclasses.dataclass(frozen=True)
class Use:
    """The use of one codebook in a file.

    share: fraction of the frames that have it. used: fraction of its codewords that occur.
    bitrate: bit/s that it takes in one channel.
    """

    level: int
    share: float
    used: float
    perplexity: float
    bitrate: float


def write_file_report(
    source: Path, target: Path, *, seconds: float = 60.0, model: str = "default"
) -> Path:
    """Write the page of the .nac file `source` to `target` and return its path.

    seconds, model; raises: as for `file_report`, and OutputError.
    """
    html = file_report(source, seconds=seconds, model=model)
    with replacing(target, overwrite=True) as aside:
        aside.write_text(html, encoding="utf-8")
    return target


def file_report(source: Path, *, seconds: float = 60.0, model: str = "default") -> str:
    """Return the page of the .nac file `source`, HTML in UTF-8.

    seconds: length of the beginning that the page draws and plays; the numbers describe the whole
    file. Raises FormatError on a damaged file, ModelError if another model made it.
    """
    codec = load(model)
    info = inspect_file(source, codec.pipeline.coder_of)
    data = source.read_bytes()
    kbps, codes = _chunks(codec, data)
    shown = min(seconds, info.duration)
    whole = shown == info.duration
    audio, rate = codec.decompress(data, duration=None if whole else shown)
    mono: Audio = resample(audio.mean(axis=0), rate, SAMPLE_RATE)
    heard, mixed = _heard(audio, rate, mono)
    frame_rate = float(info.header.frame_rate)
    return render(
        "file.html",
        name=printable(source.name),
        info=info,
        facts=_facts(info),
        tags=info.tags,
        shown=shown,
        whole=whole,
        audio=data_uri(heard, "audio/flac"),
        mixed=mixed,
        waveform=waveform_path(mono),
        spectrogram=spectrogram(mono),
        bits=steps_path(kbps),
        kbps_most=max(kbps),
        kbps_mean=info.coded_bitrate * info.header.streams / 1000,
        tokens=token_map(codes, info.header.codebook_size, round(shown * frame_rate)),
        uses=_uses(info, codes),
        codebook_size=info.header.codebook_size,
        most_codes=min(info.header.codebook_size, info.n_frames * info.header.streams),
    )


def _heard(audio: Audio, rate: int, mono: Audio) -> tuple[bytes, str]:
    """Return a FLAC of `audio` and "", or of `mono` and why, if there is no FLAC of `audio`."""
    file = io.BytesIO()
    try:
        write_audio(file, np.clip(audio, -1, 1), rate, ".flac")
    except AudioError:
        channels = len(audio)
        what = "the mean of all channels, " if channels > 1 else ""
        why = f"a page cannot play {channels} channel{'s' * (channels > 1)} at {rate} Hz"
        file = io.BytesIO()
        write_audio(file, np.clip(mono, -1, 1)[None], SAMPLE_RATE, ".flac")
        return file.getvalue(), f"You hear {what}at {SAMPLE_RATE} Hz: {why}."
    return file.getvalue(), ""


def waveform_path(audio: Audio) -> str:
    """Return an SVG path of the range of `audio` in COLUMNS columns, y from -1 (top) to 1."""
    edges = np.linspace(0, len(audio), COLUMNS + 1).round().astype(int)
    parts = []
    for column, (first, last) in enumerate(itertools.pairwise(edges)):
        piece = audio[first : max(last, first + 1)]
        if len(piece):
            parts.append(f"M{column} {-piece.max():.3f}V{-piece.min() + 1e-3:.3f}")
    return "".join(parts)


def steps_path(values: Sequence[float]) -> str:
    """Return an SVG path of steps, x from 0 to COLUMNS, y from 0 (the largest value) to 1."""
    most = max(values) or 1.0
    width = COLUMNS / len(values)
    parts = [f"M0 {1 - values[0] / most:.4f}"]
    for number, value in enumerate(values):
        parts.append(f"V{1 - value / most:.4f}H{(number + 1) * width:.2f}")
    return "".join(parts)


def token_map(codes: Sequence[Codes], codebook_size: int, frames: int) -> str:
    """Return a PNG of the first `frames` frames of the first channel.

    Each codebook is a row, the coarsest on top; colours are ranges of codes, black is no code.
    """
    levels = max(chunk.shape[1] for chunk in codes)
    columns = []
    for chunk in codes:
        colours = 1 + chunk[0].astype(np.int64) * (COLOURS - 1) // codebook_size
        missing = levels - len(colours)
        columns.append(np.pad(colours, ((0, missing), (0, 0))).astype(np.uint8))
        frames -= chunk.shape[2]
        if frames <= 0:
            break
    return palette_png(np.repeat(np.concatenate(columns, axis=1), MAP_ROW, axis=0))


def _chunks(codec: Codec, data: bytes) -> tuple[list[float], list[Codes]]:
    """Return kbit/s of all channels and the codes [channels, codebooks, frames] of each chunk."""
    reader = Reader(io.BytesIO(data))
    coder = codec.pipeline.coder_of(reader.header)
    rate = float(reader.header.frame_rate)
    kbps, codes = [], []
    for number, chunk in enumerate(reader.chunks()):
        kbps.append(8 * len(chunk.payload) / (chunk.frames / rate) / 1000)
        codes.append(decode_chunk(coder, reader.header, chunk, number))
    return kbps, codes


def _uses(info: Info, codes: Sequence[Codes]) -> list[Use]:
    bitrates = info.level_bitrates or []
    uses = []
    for level, bitrate in enumerate(bitrates):
        rows = [c[:, level].ravel() for c in codes if c.shape[1] > level]
        if not rows:  # constant quality: no chunk needed this codebook, nor any finer one
            break
        row = np.concatenate(rows)
        used, perplexity = codebook_use(row, info.header.codebook_size)
        share = info.level_frames[level] / info.n_frames
        uses.append(Use(level + 1, share, used, perplexity, bitrate))
    return uses


def _facts(info: Info) -> dict[str, Any]:
    header = info.header
    coder = CODER_NAMES.get(header.coder_id, f"coder {header.coder_id}")
    levels = "up to " if header.variable else ""
    each = "per channel" if header.together == 1 else "per two channels"
    return {
        "audio": f"{info.duration:.3f} s, {header.channels}"
        f" channel{'s' * (header.channels > 1)} at {header.sample_rate} Hz",
        "codes": f"{info.n_frames} frames at {float(header.frame_rate):g} Hz, {levels}"
        f"{header.n_codebooks} codebooks of {header.codebook_size}",
        "before entropy coding": f"{info.channel_bitrate / 1000:.3f} kbit/s {each}",
        "coded": f"{info.coded_bitrate / 1000:.3f} kbit/s {each}, coder {coder}",
        "whole file": f"{info.n_bytes} bytes, {8 * info.n_bytes / info.duration / 1000:.3f} kbit/s",
        "chunks": f"{info.n_chunks}, all intact",
        "model": header.model_id.hex(),
    }
