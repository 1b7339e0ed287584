"""Build, test, measure and train on a bare GPU machine, within a budget of minutes.

    python -m bench.gpu.run --data FOLDER --out FOLDER [--minutes 9] [--steps wheels,build,...]

bench/gpu.md explains the steps. Each step has a time limit of its own, and one that fails does not
stop the others. What is worth keeping ends in a few files of limited size in the output folder; a
table is printed last. SIGTERM and Ctrl-C end the step that runs, export what has been trained, and
skip the rest.

Imports the standard library only: the step `wheels` installs what the other steps need.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[2]
SMALL = ROOT / "bench/gpu/small.json"
GRACE = 15.0  # seconds that a step has to end after SIGTERM
LOG_BYTES = 2_000_000  # kept of a step's log, from its end
REPORT = "report.txt"


@dataclasses.dataclass
class Step:
    """A command with a limit in seconds. Its last line of output goes into the table."""

    name: str
    limit: float
    command: Callable[[Options, float], list[str]]  # the second argument: seconds left for it


@dataclasses.dataclass
class Result:
    name: str
    outcome: str  # "passed", "failed (CODE)", "over its limit", "stopped", "no time left"
    seconds: float = 0.0
    note: str = ""


@dataclasses.dataclass
class Options:
    """What the command line says; see `parse`."""

    steps: list[str]
    data: list[Path]
    out: Path
    work: Path
    minutes: float
    reserve: float
    device: str
    config: Path | None
    settings: list[str]
    wheels: Path | None
    resume_from: Path | None
    limits: dict[str, float]
    max_files: int
    max_bytes: int
    max_total: int
    hours: float

    @property
    def keep(self) -> Path:
        return self.work / "keep"

    @property
    def prepared(self) -> Path:
        return self.work / "prepared"

    def training(self) -> list[str]:
        """Arguments that the steps share which train."""
        given = ["--device", self.device]
        if self.config:
            given += ["--config", str(self.config)]
        return given + [word for setting in self.settings for word in ("--set", setting)]


def wheels(options: Options, left: float) -> list[str]:
    if options.wheels is None:
        raise ValueError("--wheels names no folder")
    found = sorted(map(str, options.wheels.glob("*.whl")))
    if not found:
        raise ValueError(f"{options.wheels} has no wheels")
    flags = ["--no-index", "--no-deps", "--no-compile", "--upgrade", "--quiet"]
    where = ["--target", str(options.work / "site")]
    return [sys.executable, "-m", "pip", "install", *flags, *where, *found]


def build(options: Options, left: float) -> list[str]:
    jobs = str(os.cpu_count() or 1)
    return [sys.executable, "setup.py", "-q", "build_ext", "--inplace", "--parallel", jobs]


def tests(options: Options, left: float) -> list[str]:
    files = ["tests/kernels/test_cuda_ops.py", "tests/engine/test_torch_ops.py"]
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *files]


def unpack(options: Options, left: float) -> list[str]:
    if not options.data:
        raise ValueError("--data names no folder")
    target = str(options.work / "data")
    return [sys.executable, "-m", "bench.gpu.unpack", *map(str, options.data), target]


def prepare(options: Options, left: float) -> list[str]:
    data = options.work / "data"
    given = [str(data), "-o", str(options.prepared)]
    if (data / "phones.tsv").exists():
        given += ["--phones", str(data / "phones.tsv")]
    return [sys.executable, "-m", "codec", "prepare", *given]


def kernels(options: Options, left: float) -> list[str]:
    given = ["--device", options.device, *(["--small"] if options.device == "cpu" else [])]
    return [sys.executable, "-m", "bench.gpu.kernels", *given]


def engine(options: Options, left: float) -> list[str]:
    if options.device == "cpu" and not os.environ.get("CODEC_CUDA_LIBRARY"):
        return [sys.executable, "-c", "print('not run: CODEC_CUDA_LIBRARY names no stand-in')"]
    given = ["--small"] if options.device == "cpu" else ["--device", options.device]
    data = options.work / "data"
    folders = [str(data)] if data.is_dir() else [str(ROOT / "tests/clips")]
    return [sys.executable, "-m", "bench.gpu.engine", *folders, *given]


def peers(options: Options, left: float) -> list[str]:
    given = ["--device", options.device, *(["--small"] if options.device == "cpu" else [])]
    return [sys.executable, "-m", "bench.gpu.peers", *given]


def hours(options: Options, left: float) -> list[str]:
    data = options.work / "data"
    given = [str(data if data.is_dir() else ROOT / "tests/clips"), "--device", options.device]
    given += ["--work", str(options.work / "hours"), "--hours", str(options.hours)]
    if options.device == "cpu":
        given += ["--clip", "2"]
    return [sys.executable, "-m", "bench.gpu.hours", *given]


def throughput(options: Options, left: float) -> list[str]:
    given = [str(options.prepared), "--work", str(options.work / "throughput")]
    return [sys.executable, "-m", "bench.gpu.throughput", *given, *options.training()]


def train(options: Options, left: float) -> list[str]:
    given = [
        str(options.prepared),
        "--run",
        str(options.work / "run"),
        "--until",
        f"{time.monotonic() + left:.1f}",
    ]
    given += ["--keep", str(options.keep), "--stop-file", str(options.work / "stop")]
    if options.resume_from:
        given += ["--resume-from", str(options.resume_from)]
    return [sys.executable, "-m", "bench.gpu.train", *given, *options.training()]


STEPS = {
    step.name: step
    for step in (
        Step("wheels", 90, wheels),
        Step("build", 180, build),
        Step("tests", 120, tests),
        Step("kernels", 60, kernels),
        Step("unpack", 60, unpack),
        Step("engine", 120, engine),
        Step("peers", 100, peers),
        Step("hours", 120, hours),
        Step("prepare", 120, prepare),
        Step("throughput", 120, throughput),
        Step("train", float("inf"), train),
    )
}


class Runner:
    """Runs the steps one after the other, until the time is over or a signal comes."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.end = time.monotonic() + 60 * options.minutes - options.reserve
        self.stopped = False
        self.child: subprocess.Popen[bytes] | None = None
        self.results: list[Result] = []
        (options.work / "logs").mkdir(parents=True, exist_ok=True)
        options.keep.mkdir(exist_ok=True)
        (options.work / "stop").unlink(missing_ok=True)

    def run(self) -> None:
        for name in self.options.steps:
            print(f"== {name} ({max(0.0, self.end - time.monotonic()):.0f} s left)", flush=True)
            result = self._step(STEPS[name])
            self.results.append(result)
            print(f"== {name}: {result.outcome} after {result.seconds:.0f} s", flush=True)

    def stop(self, number: int, frame: FrameType | None) -> None:
        """End the step that runs, and skip the rest."""
        self.stopped = True
        (self.options.work / "stop").touch()
        self._signal(signal.SIGTERM)

    def _step(self, step: Step) -> Result:
        begun = time.monotonic()
        limit = min(self.options.limits.get(step.name, step.limit), self.end - begun)
        if self.stopped or limit < 1:
            return Result(step.name, "stopped" if self.stopped else "no time left")
        log = self.options.work / "logs" / f"{step.name}.log"
        try:
            command = step.command(self.options, limit)
            outcome = self._execute(command, log, limit)
        except (OSError, ValueError) as error:
            log.write_text(f"{error}\n")
            outcome = "failed"
        text = log.read_text(errors="replace").rstrip()
        print(text[-3000:], flush=True)
        note = text.rpartition("\n")[2][:120]
        return Result(step.name, outcome, time.monotonic() - begun, note)

    def _execute(self, command: list[str], log: Path, limit: float) -> str:
        with log.open("wb") as file:
            self.child = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(self.options),
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own, to be ended as a whole
            )
            if self.stopped:  # by a signal since the last look
                self._signal(signal.SIGTERM)
            over = False
            # training ends itself at its limit, and only hangs beyond the grace
            if not self._ends_within(limit + (GRACE if "bench.gpu.train" in command else 0)):
                over = not self.stopped
                self._signal(signal.SIGTERM)
                if not self._ends_within(GRACE):
                    self._signal(signal.SIGKILL)
            code = self.child.wait()
            self._signal(signal.SIGKILL)  # what the step left behind
            self.child = None
        if over:
            return "over its limit"
        if self.stopped:
            return "stopped"
        return "passed" if code == 0 else f"failed ({code})"

    def _ends_within(self, seconds: float) -> bool:
        """Wait for the child; a signal to this process leaves it the grace period only."""
        assert self.child is not None
        end = time.monotonic() + seconds
        seen = False
        while time.monotonic() < end:
            if self.child.poll() is not None:
                return True
            if self.stopped and not seen:
                seen, end = True, min(end, time.monotonic() + max(GRACE, self.options.reserve / 2))
            time.sleep(0.05)
        return False

    def _signal(self, number: signal.Signals) -> None:
        if self.child is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.child.pid, number)


def environment(options: Options) -> dict[str, str]:
    """The environment of the steps: the carried packages first, caches in the work folder."""
    work = options.work
    paths = [str(work / "site"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUNBUFFERED": "1",
        "CODEC_CUDA": "0" if options.device == "cpu" else os.environ.get("CODEC_CUDA", "1"),
        "CODEC_REQUIRE_NATIVE": "1",
        "XDG_CACHE_HOME": str(work / "cache"),
        "TORCHINDUCTOR_CACHE_DIR": str(work / "cache/inductor"),
        "TRITON_CACHE_DIR": str(work / "cache/triton"),
    }


def machine() -> str:
    """A few lines on the GPU and the software."""
    said = [f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs"]
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    code = "import torch; print('PyTorch', torch.__version__, 'CUDA', torch.version.cuda)"
    for command in (query, [sys.executable, "-c", code]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            continue
        said += done.stdout.strip().splitlines()
    return "\n".join(said)


def table(results: list[Result]) -> str:
    lines = ["| step | result | seconds | last line |", "|---|---|--:|---|"]
    for result in results:
        note = result.note.replace("|", "/")
        lines.append(f"| {result.name} | {result.outcome} | {result.seconds:.0f} | {note} |")
    return "\n".join(lines)


def report(options: Options, results: list[Result]) -> str:
    """The table, the machine, and the end of every step's log."""
    parts = [table(results), machine()]
    for result in results:
        log = options.work / "logs" / f"{result.name}.log"
        if log.exists():
            text = log.read_bytes()[-LOG_BYTES:].decode(errors="replace")
            parts.append(f"==== {result.name}\n{text}")
    return "\n\n".join(parts) + "\n"


def collect(options: Options, text: str) -> list[str]:
    """Put the report and the kept files into the output folder; lines that say what is where.

    A file over the size limit is cut: `cat NAME.cut-* > NAME` joins it. Files that the limits leave
    out come with the next call that has the same work folder.
    """
    options.out.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    (options.out / REPORT).write_bytes(data[: options.max_bytes])
    marks = options.work / "collected.json"
    done: dict[str, float] = json.loads(marks.read_text()) if marks.exists() else {}
    files, total = options.max_files - 1, options.max_total - len(data[: options.max_bytes])
    lines = []
    for name, path, first in pieces(options.keep, options.max_bytes):
        stamp = path.stat().st_mtime
        size = min(options.max_bytes, path.stat().st_size - first)
        if done.get(name) == stamp:
            continue
        if not files or size > total:
            lines.append(f"left for the next call: {name}")
            continue
        with path.open("rb") as file:
            file.seek(first)
            write(options.out / name, file.read(size))
        done[name] = stamp
        files, total = files - 1, total - size
        lines.append(f"{options.out / name}")
    write(marks, json.dumps(done).encode())
    return lines


def pieces(folder: Path, most: int) -> list[tuple[str, Path, int]]:
    """(name, file, first byte) of the kept files: the weights, then the manifest and the parts."""
    found = []
    for path in sorted(folder.rglob("*"), key=lambda path: (path.parent != folder, path.name)):
        if path.is_dir() or path.name.startswith("."):
            continue
        size = path.stat().st_size
        for number, first in enumerate(range(0, max(size, 1), most)):
            found.append((f"{path.name}.cut-{number}" if size > most else path.name, path, first))
    return found


def write(path: Path, data: bytes) -> None:
    """Write aside and rename: a file in the output folder is whole."""
    aside = path.with_name(f".{path.name}.part")
    aside.write_bytes(data)
    aside.replace(path)


def parse(arguments: list[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--steps", default=",".join(STEPS), help=f"in this order (default {','.join(STEPS)})")
    add("--data", type=Path, action="append", default=[], help="audio; may be repeated")
    add("--out", type=Path, required=True, help="the folder for what is worth keeping")
    add("--work", type=Path, default=Path(tempfile.gettempdir()) / "codec-gpu", help="the rest")
    add("--minutes", type=float, default=9.0, help="for all steps and the writing (default 9)")
    add("--reserve", type=float, default=60.0, help="seconds of it to write out (default 60)")
    add("--device", default="cuda", help="cuda (default), or cpu: everything small")
    add("--config", type=Path, help="training settings in JSON or TOML")
    add("--set", dest="settings", action="append", default=[], help="a training setting")
    add("--wheels", type=Path, help="wheels that the machine does not have")
    add("--resume-from", type=Path, help="a handover to train on from")
    add("--limit", action="append", default=[], help="STEP=SECONDS; may be repeated")
    add("--max-files", type=int, default=8, help="in the output folder (default 8)")
    add("--max-bytes", type=int, default=15_500_000, help="of each (default 15500000)")
    add("--max-total", type=int, default=64_000_000, help="of all (default 64000000)")
    add("--hours", type=float, help="of audio for the step hours (default 20; on a CPU 0.005)")
    given = parser.parse_args(arguments)
    steps = [name for name in given.steps.split(",") if name]
    limits = {}
    for text in given.limit:
        name, _, seconds = text.partition("=")
        limits[name] = float(seconds)
    for name in (*steps, *limits):
        if name not in STEPS:
            parser.error(f"there is no step {name!r}; the steps are {', '.join(STEPS)}")
    if given.reserve >= 60 * given.minutes:
        parser.error("--reserve leaves no time")
    config = given.config or (SMALL if given.device == "cpu" else None)
    paths = {
        name: value.resolve() if value else None
        for name, value in (
            ("config", config),
            ("wheels", given.wheels),
            ("resume_from", given.resume_from),
        )
    }
    return Options(
        steps,
        [folder.resolve() for folder in given.data],
        given.out.resolve(),
        given.work.resolve(),
        given.minutes,
        given.reserve,
        given.device,
        paths["config"],
        given.settings,
        paths["wheels"],
        paths["resume_from"],
        limits,
        given.max_files,
        given.max_bytes,
        given.max_total,
        given.hours or (0.005 if given.device == "cpu" else 20.0),
    )


def main() -> int:
    options = parse()
    runner = Runner(options)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, runner.stop)
    runner.run()
    lines = collect(options, report(options, runner.results))
    print("\n".join(lines))
    print(table(runner.results), flush=True)
    return 0 if all(result.outcome == "passed" for result in runner.results) else 1


if __name__ == "__main__":
    if shutil.which("nvidia-smi") is None and "--device" not in sys.argv:
        print("no GPU here: --device cpu runs everything small", file=sys.stderr)
    sys.exit(main())
