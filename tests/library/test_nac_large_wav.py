"""WAVs of more than 2 GB in examples/c/wav.c: taken for as long as codec.audio takes them.

The files are sparse, and only their ends are read.
"""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from codec.audio import AudioReader
from tests.helpers.audio_inputs import chunk, wav
from tests.helpers.c_library import GCC, ROOT, compile_c

pytestmark = pytest.mark.skipif(GCC is None, reason="needs gcc")

SAYS = """
#include "wav.h"

int main(int n, char **words)
{
    wav_reader wav;
    FILE *file = n == 2 ? fopen(words[1], "rb") : NULL;
    const char *problem = file ? wav_open(&wav, file) : "no file";
    if (problem) return fprintf(stderr, "%s", problem), 1;
    printf("%llu %llu\\n%s\\n", (unsigned long long)wav.n_samples,
           (unsigned long long)wav.claimed, wav.warning ? wav.warning : "");
    for (size_t i = 0; i < wav.tags.n; i++) printf("%s", wav.tags.values[i]);
    wav_free(&wav.tags);
    return fclose(file);
}
"""
TITLE = chunk(b"LIST", b"INFO" + chunk(b"INAM", b"x"))


@pytest.fixture(scope="module")
def says(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wav")
    source = folder / "says.c"
    source.write_text(SAYS)
    c = ROOT / "examples" / "c"
    flags = ("-D_POSIX_C_SOURCE=200809L", "-D_FILE_OFFSET_BITS=64", f"-I{c}")
    return compile_c(folder / "says", [source, c / "wav.c"], *flags)


NO_CHUNK = b"what is no chunk"
SIZES = [
    (3_000_000_000, 3_000_000_000),
    (1 << 32, 0),
    (5_000_000_000, 5_000_000_000 - (1 << 32)),
    ((2 << 32) + 6, 6),
    ((1 << 32) + 5000, 7000),
    (3_000_000_000, 0x7FFF_F000),
    (3_000_000_000, 0xFFFF_FFFF),
    (2_900_000_000, 3_000_000_000),
]
# Both readers go through 4 or 8 GB of zeros there.
LONG = {(*SIZES[2], NO_CHUNK), (*SIZES[3], NO_CHUNK), (*SIZES[4], b""), (*SIZES[4], NO_CHUNK)}
CASES = [(*sizes, behind) for sizes in SIZES for behind in (b"", TITLE, NO_CHUNK)]


@pytest.mark.parametrize(
    ("size", "stated", "behind"),
    [pytest.param(*case, marks=[pytest.mark.slow] * (case in LONG)) for case in CASES],
)
def test_sizes_are_those_of_the_package(
    says: Path, tmp_path: Path, size: int, stated: int, behind: bytes
) -> None:
    path = tmp_path / "large.wav"
    head = wav()
    at = head.index(b"data") + 8
    with path.open("wb") as file:
        file.write(head[: at - 4] + struct.pack("<I", stated))
        file.seek(at + size - 2)
        file.write(b"\0\x40" + behind)
    done = subprocess.run([says, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    numbers, warning, title = done.stdout.split("\n")
    n_samples, claimed = map(int, numbers.split())
    with AudioReader(path) as reader:
        assert claimed == reader.claimed
        assert title == reader.tags.get("title", "")
        there = (path.stat().st_size - at) // 2
        assert n_samples == min(reader.claimed, there)
        cut = "cut off: samples are missing at the end"
        assert warning == (cut if n_samples < claimed else "".join(reader.warnings))
