"""NIST SPHERE: what follows the samples is none."""

from __future__ import annotations

import io

import numpy as np
import pytest

from codec.audio import AudioReader, sphere
from tests.helpers.audio_inputs import encoded, tone

CODINGS = ["PCM_16", "PCM_24", "ULAW", "ALAW"]


def read(data: bytes) -> tuple[np.ndarray, list[str]]:
    with AudioReader(io.BytesIO(data)) as reader:
        return np.concatenate(list(reader), axis=1), reader.warnings


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("coding", CODINGS)
def test_what_follows_is_left_out(coding: str, channels: int) -> None:
    data = encoded(tone(8000, channels), "NIST", coding)
    expected, warnings = read(data)
    assert expected.shape == (channels, 8000)
    assert warnings == []
    for behind, said in (
        (bytes(1), []),
        (bytes(4000), []),
        (b"junk" * 500, ["more follows than the header claims, which was not read"]),
    ):
        audio, warnings = read(data + behind)
        assert np.array_equal(audio, expected)
        assert warnings == said


def test_a_file_that_is_cut_off_says_so() -> None:
    audio, warnings = read(encoded(tone(), "NIST", "PCM_16")[:-1000])
    assert audio.shape == (1, 7500)
    assert warnings == ["cut off: 7500 samples are there"]


@pytest.mark.parametrize("count", [b"0000", b"-800", b"many", b"\xff\xff\xff\xff"])
def test_without_a_count_a_file_is_read_to_its_end(count: bytes) -> None:
    data = encoded(tone(), "NIST", "PCM_16").replace(b"-i 8000\n", b"-i " + count + b"\n")
    assert sphere.extent(data) == (1024, 0)
    assert read(data + bytes(200))[0].shape == (1, 8100)


def test_a_coding_of_another_size_is_not_counted() -> None:
    data = encoded(tone(), "NIST", "PCM_16")
    shortened = data.replace(b"-s3 pcm\n", b"-s26 pcm,embedded-shorten-v2.00\n")
    assert sphere.extent(shortened) == (1024, 0)
    for cut in range(60):
        assert sphere.extent(data[:cut])[1] == 0
