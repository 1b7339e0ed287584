"""What `codec info` does without: the engine, PyTorch, and the tensors of the weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import codec
from codec.model.catalogue import DEFAULT_MODEL, release_named
from tests.helpers.processes import python

# Runs `codec info FILE`, then prints what was loaded for it, and the names of tensors read.
SCRIPT = """
import sys

import codec.model.weights_file as weights_file

read = []
weights_file.WeightsFile.read = lambda self, work: read.append(work)
weights_file._Tensors.__getitem__ = lambda self, name: read.append(name)
from codec.cli.main import main

sys.argv = ["codec", "info", sys.argv[1]]
try:
    main()
except SystemExit as end:
    assert not end.code
unwanted = ("torch", "numba", "codec.engine._engine", "codec.engine.native", "codec.coders.data")
print("loaded", [name for name in unwanted if name in sys.modules], "read", read)
"""


def test_info_loads_no_engine_and_no_weights(shipped: codec.Codec, tmp_path: Path) -> None:
    path = tmp_path / "a.nac"
    path.write_bytes(shipped.compress(np.zeros(24_000, np.float32), 24_000))
    said = python(SCRIPT, path)
    release = release_named(DEFAULT_MODEL)
    assert release is not None
    assert f"{release.model_id.hex()}: {release.name}, the default" in said
    assert said.splitlines()[-1] == "loaded [] read []"
