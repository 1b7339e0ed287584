"""No damage to a file makes libcodec read or write where it must not: under ASan and UBSan."""

from __future__ import annotations

import io
import re
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("codec.coders._entropy", reason="the native extension was not built")

from bench.random_weights import SMALL
from codec.coders.base import CODER_IDS
from codec.coders.find import load_coder
from codec.model.weights_file import WeightsFile
from codec.nac import Header, Writer
from codec.support.workers import Workers
from tests.helpers.c_library import GCC, SANITIZED, compile_c, sources
from tests.library.nac_models import write_model

pytestmark = [pytest.mark.slow, pytest.mark.skipif(GCC is None, reason="needs gcc")]


def small_file(model: Path, coder: str) -> bytes:
    """Two channels in three chunks with one to three codebooks, and a tag."""
    header = Header(
        2, 3, SMALL.codebook_size, Fraction(SMALL.sample_rate, SMALL.hop_length),
        SMALL.sample_rate, WeightsFile(model).model_id, 8,
    )  # fmt: skip
    file = io.BytesIO()
    found = load_coder(coder, SMALL.codebook_size, model)
    writer = Writer(file, header, found, {"title": "T"}, variable=True)
    random = np.random.default_rng(0)
    shapes = ((2, 1, 8), (2, 3, 8), (2, 2, 5))
    chunks = [random.integers(0, SMALL.codebook_size, shape).astype(np.uint16) for shape in shapes]
    for _ in writer.write_chunks(chunks, Workers()):
        pass
    writer.finish(21 * SMALL.hop_length)
    return file.getvalue()


def test_damage_of_every_kind(tmp_path: Path) -> None:
    files = [Path(__file__).with_name("nac_damage.c"), *sources()]
    program = compile_c(tmp_path / "nac_damage", files, "-O1", *SANITIZED)
    model = write_model(tmp_path / "small.safetensors")
    paths = []
    for coder in CODER_IDS:
        paths.append(tmp_path / f"{coder}.nac")
        paths[-1].write_bytes(small_file(model, coder))
    command = [program, model, model.with_suffix(".entropy"), *paths]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    counts = re.findall(r"coder (\d): (\d+) refused, (\d+) read\n", done.stdout)
    assert [int(coder) for coder, _, _ in counts] == [0, 1, 2]
    for (_, refused, _), path in zip(counts, paths, strict=True):
        assert int(refused) > 9 * path.stat().st_size  # each bit, each cut, and what is resealed
