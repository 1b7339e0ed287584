"""Damage at every byte: noticed, and nothing lost but the damaged chunk."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.random_weights import SMALL, write_weights
from codec.errors import FormatError
from codec.files.inspect import verify_file
from codec.files.plan import Job
from codec.files.transcode import Coding, Task, compress_file, decompress_file, salvage_file
from codec.model.receptive_field import decoder_reach
from codec.nac.layout import (
    CHUNK_HEADER_BYTES,
    CHUNK_MARKER,
    HEADER_BYTES,
    MAX_FRAMES,
    TRAILER_BYTES,
    Header,
    index_bytes,
)
from codec.nac.reader import Reader, own_coder
from codec.nac.salvage import read_run, survey
from codec.support.workers import Workers
from codec.tokens import Tokens
from tests.fuzz.attacks import written


def ten_seconds() -> Tokens:
    """As the default model makes them at 6 kbit/s, of mono."""
    codes = np.random.default_rng(0).integers(0, 1024, (1, 24, 250), np.uint16)
    return Tokens(codes, 25.0, 240_000 - 13, 24_000, 1024, b"modelid8")


TOKENS = ten_seconds()
DATA = written(TOKENS, {"title": "ten seconds"})
BODY = Header.unpack(DATA).body
CHUNK = CHUNK_HEADER_BYTES + 50 * 24 * 10 // 8
INDEX = BODY + 5 * CHUNK


def salvaged(data: bytes) -> tuple[list[tuple[int, int]], np.ndarray]:
    """The frames that are lost, and the codes with zeros in their place."""
    found = survey(data)
    assert found.header.n_frames <= TOKENS.n_frames
    codes = np.zeros_like(TOKENS.codes)
    for run in found.runs:
        chunks = read_run(data, found.header, run, own_coder)
        codes[:, :, run.first : run.stop] = np.concatenate(list(chunks), axis=2)
    return found.gaps, codes


def read(data: bytes) -> None:
    for _ in Reader(io.BytesIO(data)).chunks():
        pass


def test_every_damaged_byte_costs_its_chunk_at_most() -> None:
    flips = np.random.default_rng(0).integers(1, 256, len(DATA))
    damaged = bytearray(DATA)
    for at, flip in enumerate(flips):
        damaged[at] ^= int(flip)
        data = bytes(damaged)
        with pytest.raises(FormatError):
            read(data)
        found = survey(data)
        assert not found.intact
        number = (at - BODY) // CHUNK
        inside = BODY <= at < INDEX
        assert found.gaps == ([(50 * number, 50 * number + 50)] if inside else [])
        assert found.header.n_samples == TOKENS.n_samples
        if at % 97 == 0:
            expected = TOKENS.codes.copy()
            if inside:
                expected[:, :, 50 * number : 50 * number + 50] = 0
            assert np.array_equal(salvaged(data)[1], expected)
        damaged[at] = DATA[at]


def test_every_truncation_keeps_what_is_whole() -> None:
    for length in range(len(DATA)):
        data = DATA[:length]
        with pytest.raises(FormatError):
            read(data)
        whole = min(5, (length - BODY) // CHUNK)
        if whole < 1:
            with pytest.raises(FormatError):
                survey(data)
            continue
        found = survey(data)
        assert not found.intact
        assert found.gaps == ([(50 * whole, 250)] if whole < 5 else [])


def test_bytes_that_are_gone_or_too_many_are_stepped_over() -> None:
    at = BODY + CHUNK + 700
    for data in (DATA[:at] + DATA[at + 100 :], DATA[:at] + CHUNK_MARKER * 9 + DATA[at:]):
        gaps, codes = salvaged(data)
        assert gaps == [(50, 100)]
        assert np.array_equal(codes[:, :, 100:], TOKENS.codes[:, :, 100:])
    between = DATA[: BODY + CHUNK] + b"junk" + DATA[BODY + CHUNK :]
    found = survey(between)
    assert salvaged(between)[0] == []
    assert np.array_equal(salvaged(between)[1], TOKENS.codes)
    assert [len(runs) for runs in found.between_gaps()] == [2]
    assert found.problems
    assert survey(DATA + b"junk").problems == ("there is more after its end",)
    assert not survey(DATA + b"junk").gaps


def test_what_an_unknown_length_was_is_told_by_the_frames() -> None:
    header = Header(1, 24, 1024, TOKENS.exact_frame_rate, 24_000, b"modelid8", 50)
    data = header.pack() + DATA[BODY:INDEX]
    found = survey(data[:-1])
    assert found.header.n_samples == 200 * 960
    assert not found.length_known
    assert not found.gaps
    assert found.problems == ("the trailer is missing or damaged",)


def test_silence_of_years_is_refused() -> None:
    from tests.fuzz.attacks import chunk_of

    payload = DATA[BODY + CHUNK_HEADER_BYTES : BODY + CHUNK]
    late = chunk_of((MAX_FRAMES // 50 * 50 - 50, len(payload), 50, 24, 0), payload)
    header = Header(1, 24, 1024, TOKENS.exact_frame_rate, 24_000, b"modelid8", 50)
    with pytest.raises(FormatError, match="hours are missing"):
        survey(header.pack() + late)


def test_false_markers_waste_bounded_time() -> None:
    false = chunk_header_of_a_mebibyte()
    with pytest.raises(FormatError, match="waste time"):
        survey(DATA[:BODY] + false * 200_000)


def chunk_header_of_a_mebibyte() -> bytes:
    fields = (0).to_bytes(4, "little") + (1 << 20).to_bytes(4, "little") + b"\x32\0\x18\0"
    return CHUNK_MARKER + fields + b"\0\0\0\0"


def nothing(*seconds: float) -> None:
    pass


def test_both_ends_and_the_metadata_at_once(tmp_path) -> None:
    path = tmp_path / "a.nac"
    size = index_bytes(5) + TRAILER_BYTES
    path.write_bytes(DATA[:BODY] + bytes(CHUNK) + DATA[BODY + CHUNK : -size])
    found = verify_file(path)
    assert found.lost() == [(0.0, 2.0)]
    assert found.tags == {"title": "ten seconds"}
    path.write_bytes(bytes(HEADER_BYTES) + DATA[HEADER_BYTES:])
    found = verify_file(path)
    assert not found.gaps
    assert len(found.problems) == 1
    assert "its copy at the end is read" in found.problems[0]
    path.write_bytes(bytes(BODY) + DATA[BODY:-size])
    with pytest.raises(FormatError, match=r"not a \.nac file"):
        verify_file(path)
    path.write_bytes(DATA)
    assert verify_file(path).intact


@pytest.fixture
def tool(tmp_path):
    pytest.importorskip("codec.engine._engine", reason="needs the native engine")
    import codec

    return codec.load(write_weights(tmp_path / "w.safetensors", SMALL), backend="native")


@pytest.mark.parametrize("rate", [24_000, 16_000])
def test_samples_beyond_the_decoder_s_reach_are_exact(tool, tmp_path, rate) -> None:
    rng = np.random.default_rng(0)
    source, packed, whole, rest = (tmp_path / name for name in ("a.wav", "a.nac", "b.wav", "c.wav"))
    soundfile.write(source, rng.normal(0, 0.1, 10 * rate), rate)

    def task(source: Path, target: Path) -> Task:
        return Task(tool.pipeline, Job(source, target), Workers(), nothing)

    compress_file(task(source, packed), Coding(3))
    decompress_file(task(packed, whole), ".wav")
    data = bytearray(packed.read_bytes())
    data[len(data) // 2] ^= 1
    packed.write_bytes(data)
    found = salvage_file(task(packed, rest), ".wav")
    assert found.lost() == [(4.0, 6.0)]
    before, after = (soundfile.read(path, dtype="int16")[0] for path in (whole, rest))
    assert len(before) == len(after) == 10 * rate
    reach = decoder_reach(tool.config)
    resampler = 0 if rate == 24_000 else 0.01
    early = int((4 - reach.after / 25 - resampler) * rate)
    late = int((6 + reach.before / 25 + resampler) * rate)
    assert np.array_equal(before[:early], after[:early])
    assert not after[int((4 + resampler) * rate) : int((6 - resampler) * rate)].any()
    # FFT blocks of the resampler round what is beside a gap otherwise: 1 step of 16 bits at most.
    assert np.abs(before[late:].astype(int) - after[late:]).max() <= (rate != 24_000)
