"""Write bench/kernels.md: log-mel and vector quantisation against the libraries people use.

    python -m bench.kernels [--output bench/kernels.md]

Runs bench/mel_table.py and bench/rvq_table.py one after the other, each on one thread, and puts
the machine, the versions and the command lines before their tables.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

from codec.kernels import load
from codec.support.atomic import replacing

HERE = Path(__file__).parent
TABLES = ("mel_table", "rvq_table")
PACKAGES = (
    "numpy",
    "torch",
    "torchaudio",
    "librosa",
    "openai-whisper",
    "transformers",
    "kaldi-native-fbank",
    "encodec",
    "vector-quantize-pytorch",
    "faiss-cpu",
    "numba",
)
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def processor() -> str:
    """Name, family and cores of the processor, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    fields = {}
    if info.exists():
        pairs = (line.partition(":") for line in info.read_text().splitlines())
        fields = {key.strip(): value.strip() for key, _, value in pairs}
    name = fields.get("model name", platform.processor() or platform.machine())
    family = fields.get("cpu family")
    model = f" (family {family}, model {fields.get('model')})" if family else ""
    return f"{name}{model}, {os.cpu_count()} cores"


def versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def run(script: str) -> str:
    """What the script prints, run on one thread."""
    environment = os.environ | dict.fromkeys(THREADS, "1")
    root = str(HERE.parent)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", f"bench.{script}"]
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return result.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=HERE / "kernels.md")
    options = parser.parse_args()
    parts = [
        "# Speed and error of the kernels",
        f"Written by `python {shlex.join(['-m', 'bench.kernels', *sys.argv[1:]])}`, which runs "
        + " and ".join(f"`bench/{script}.py`" for script in TABLES)
        + "; their docstrings say what is measured.",
        f"- Machine: {processor()}, {platform.system()}; instruction sets used: "
        f"{', '.join(load('codec.kernels._native').isas())}. One thread.\n- {versions()}.",
    ]
    parts += [run(script) for script in TABLES]
    text = "\n\n".join(parts) + "\n"
    with replacing(options.output, overwrite=True) as path:
        path.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
