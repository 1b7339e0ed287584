"""A trimmed file is the file that so many codebooks make, byte for byte."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pytest

import codec
from bench.random_weights import noise
from codec.nac.layout import HEADER_BYTES, Header
from codec.nac.reader import Reader
from codec.tokens import write_tokens


@pytest.fixture
def audio():
    """Two channels, three chunks and a part."""
    return noise(2 * 7 * 24_000).reshape(2, -1)


@pytest.mark.parametrize("count", [1, 4, 11, 12])
def test_a_trimmed_file_is_that_of_fewer_codebooks(small, audio, tmp_path, count):
    (tmp_path / "a.nac").write_bytes(small.compress(audio, 24_000))
    codec.trim_file(tmp_path / "a.nac", str(tmp_path / "b.nac"), np.int64(count))
    assert (tmp_path / "b.nac").read_bytes() == small.compress(audio, 24_000, n_codebooks=count)


@pytest.mark.parametrize("effort", ["raw", "fast", "best"])
def test_every_coder(tmp_path, effort):
    pytest.importorskip("codec.coders._entropy", reason="needs the entropy coders")
    pytest.importorskip("codec.engine._engine", reason="needs the native engine")
    shipped = codec.load()
    source, target = tmp_path / "a.nac", tmp_path / "b.nac"
    source.write_bytes(shipped.compress(noise(60_000), 24_000, effort=effort))
    codec.trim_file(source, target, 3)
    expected = shipped.compress(noise(60_000), 24_000, n_codebooks=3, effort=effort)
    assert target.read_bytes() == expected


def test_chunks_of_a_varying_bitrate_keep_what_they_have(small, audio, tmp_path):
    source, target = tmp_path / "a.nac", tmp_path / "b.nac"
    counts = itertools.cycle((3, 1, 2))
    with source.open("wb") as file:
        write_tokens(file, small.encode(audio, 24_000), choose=lambda codes: next(counts))
    codec.trim_file(source, target, 2)
    before, after = (list(Reader(io.BytesIO(path.read_bytes()))) for path in (source, target))
    assert [codes.shape[1] for codes in after] == [2, 1, 2, 2]
    for old, new in zip(before, after, strict=True):
        assert np.array_equal(old[:, :2], new)
    assert small.decompress(target.read_bytes())[0].shape == audio.shape


def test_what_cannot_be_trimmed(small, tmp_path):
    source, target = tmp_path / "a.nac", tmp_path / "b.nac"
    source.write_bytes(small.compress(noise(960), 24_000, n_codebooks=3))
    for count in (0, 4, 2.5, "2", None):
        with pytest.raises(codec.BitrateError):
            codec.trim_file(source, target, count)
    damaged = bytearray(source.read_bytes())
    damaged[HEADER_BYTES + 20] ^= 1
    (tmp_path / "c.nac").write_bytes(damaged)
    with pytest.raises(codec.FormatError):
        codec.trim_file(tmp_path / "c.nac", target, 2)
    with pytest.raises(codec.OutputError, match="overwrite the input"):
        codec.trim_file(source, source, 2, overwrite=True)
    with pytest.raises(codec.CodecError):
        codec.trim_file(source.read_bytes(), target, 2)
    assert not target.exists()
    target.write_bytes(b"old")
    with pytest.raises(codec.OutputError, match="exists; overwrite=True replaces it"):
        codec.trim_file(source, target, 2)
    codec.trim_file(source, target, 2, overwrite=True)
    assert Header.unpack(target.read_bytes()).n_codebooks == 2


def test_the_command(cli, small, audio, tmp_path: Path):
    source = tmp_path / "a.nac"
    source.write_bytes(small.compress(audio, 24_000))
    expected = small.compress(audio, 24_000, n_codebooks=4)
    assert cli("trim", source, "-n", 4)[0] == 0
    assert (tmp_path / "a.4.nac").read_bytes() == expected
    assert cli("trim", source, "-n", 4, "-o", tmp_path / "out/")[0] == 0
    cli("trim", source, "-n", 4, "-o", tmp_path / "b.nac")
    assert (tmp_path / "b.nac").read_bytes() == expected
    code, out, _ = cli("trim", "-", "-n", 4, stdin=source.read_bytes())
    assert (code, out) == (0, expected)
    code, _, err = cli("trim", source, "-n", 13, "-o", tmp_path / "d.nac")
    assert (code, err) == (1, f"codec: {source}: no 13 codebooks to keep of 12\n")
    assert cli("trim", source)[0] == 2
