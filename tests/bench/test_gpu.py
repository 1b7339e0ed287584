"""The script for a bare GPU machine: its packing, its steps, its limits, and all of it on a CPU."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.gpu import pack, run, unpack
from bench.gpu.run import REPORT, Options, Runner, Step, collect, parse, report
from codec.training.phones import AlignedClip, read_labels, read_table, write_labels, write_table
from codec.training.prepare import prepare
from tests.helpers.nn_models import chirps

ROOT = run.ROOT
names = st.builds(
    "{}/{}".format, st.sampled_from(["speech", "music", "noise"]), st.integers(0, 999)
)


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.dictionaries(names, st.integers(1, 100), max_size=40),
    folders=st.integers(1, 5),
    most=st.integers(20, 600),
)
def test_folders_are_full_of_each_kind(sizes: dict[str, int], folders: int, most: int):
    filled, left = pack.assign(sizes, folders, most)
    assert sorted([*left, *(name for names in filled for name in names)]) == sorted(sizes)
    assert all(sum(sizes[name] for name in names) <= most for names in filled)
    if left:
        return
    of_kind: dict[str, list[int]] = defaultdict(lambda: [0] * folders)
    for number, group in enumerate(filled):
        for name in group:
            of_kind[name.partition("/")[0]][number] += sizes[name]
    if sum(sizes.values()) + max(sizes.values(), default=0) <= most:  # none was ever full
        for kind, totals in of_kind.items():
            largest = max(size for name, size in sizes.items() if name.startswith(kind))
            assert max(totals) - min(totals) <= largest


@given(st.integers(2, 60), st.integers(2, 4))
@settings(max_examples=50, deadline=None)
def test_what_does_not_fit_is_left_out_of_each_kind_alike(count: int, share: int):
    """Files of one size, and room for 1 / share of them."""
    sizes = {f"{kind}/{i}": 10 for kind in ("speech", "music") for i in range(share * count)}
    filled, left = pack.assign(sizes, 2, 10 * count)
    kept = [name for group in filled for name in group]
    assert len(kept) == 2 * count
    assert sum(name.startswith("music") for name in kept) == count
    assert len(left) == len(sizes) - len(kept)


def test_audio_is_packed_as_opus(tmp_path: Path):
    source, folder = tmp_path / "source", tmp_path / "packed"
    for kind in ("speech", "music"):
        (source / kind).mkdir(parents=True)
        for number in range(2):
            soundfile.write(source / kind / f"{number}.wav", chirps(48_000, number), 24_000)
    lines = pack.audio(source, folder, folders=2, most=1_000_000, kbits=64)
    assert len(lines) == 2
    for number in range(2):
        files = [path for path in (folder / str(number)).rglob("*") if path.is_file()]
        assert sorted(path.parent.name for path in files) == ["music", "speech"]
        for path in files:
            audio, rate = soundfile.read(path)
            assert (rate, len(audio)) == (48_000, 96_000)
            original = chirps(48_000, int(path.stem))
            spectra = [np.abs(np.fft.rfft(x))[: 2 * 8000] for x in (audio, original)]
            assert np.corrcoef(*spectra)[0, 1] > 0.95  # type: ignore[call-overload]
            assert path.stat().st_size < 2 * 64_000 / 8 * 2  # two seconds, within a factor of two
    # files that are Opus already are copied
    again = pack.audio(folder / "0", tmp_path / "again", folders=1, most=1_000_000, kbits=6)
    for path in (folder / "0").rglob("*.opus"):
        copied = tmp_path / "again" / "0" / path.relative_to(folder / "0")
        assert copied.read_bytes() == path.read_bytes()
    assert len(again) == 1


def test_phones_travel_with_their_audio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Packed in two folders and unpacked, prepared audio has the labels that it has without."""
    source, packed, there = tmp_path / "source", tmp_path / "packed", tmp_path / "there"
    clips = []
    for number in range(4):
        (source / "speech").mkdir(parents=True, exist_ok=True)
        path = f"speech/{number}.wav"
        soundfile.write(source / path, chirps(48_000, number), 24_000)
        phones = tuple((10 * i, f"P{(i + number) % 5}") for i in range(15))
        clips += [AlignedClip(f"train/{path}", at, 0.9, phones) for at in (0.05, 1.0)]
    write_table(source / "phones.tsv", clips)
    lines = pack.audio(source, packed, folders=2, most=1_000_000, kbits=64)
    assert all(line.endswith("0.00 hours with phones") for line in lines)
    for number in (0, 1, 0):
        argv = ["unpack", str(packed / str(number)), str(there)]
        monkeypatch.setattr(sys, "argv", argv)
        unpack.main()
    assert len(read_table(there / "phones.tsv")) == len(clips)
    labels = []
    for folder in (source, there):
        prepared = prepare(folder, tmp_path / f"prepared-{folder.name}")
        assert write_labels(prepared, folder / "phones.tsv") == pytest.approx(8 * 0.9)
        assert [entry.samples for entry in prepared.files] == [48_000] * 4
        labels.append(read_labels(prepared)[0])
    assert np.array_equal(*labels)
    assert len(set(labels[0].tolist())) == 6


@pytest.fixture
def options(tmp_path: Path) -> Options:
    given = ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work"), "--device", "cpu"]
    return parse([*given, "--minutes", "5", "--reserve", "1"])


def steps(monkeypatch: pytest.MonkeyPatch, options: Options, **codes: str) -> None:
    """Replace the steps by Python code."""
    for name, code in codes.items():
        command = [sys.executable, "-c", code]
        monkeypatch.setitem(run.STEPS, name, Step(name, 60, lambda *_, c=command: c))
    options.steps = list(codes)


def test_a_step_that_fails_does_not_stop_the_others(options: Options, monkeypatch):
    steps(monkeypatch, options, bad="print('why'); raise SystemExit(3)", good="print('fine')")
    runner = Runner(options)
    runner.run()
    assert [(r.outcome, r.note) for r in runner.results] == [
        ("failed (3)", "why"),
        ("passed", "fine"),
    ]
    text = report(options, runner.results)
    assert "| bad | failed (3) |" in text
    assert "==== good\nfine" in text


def test_a_step_over_its_limit_is_ended(options: Options, monkeypatch):
    # what SIGTERM does not end SIGKILL does, its children too
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
        "print(child.pid, flush=True); time.sleep(600)"
    )
    steps(monkeypatch, options, slow=code, good="print('fine')")
    monkeypatch.setattr(run, "GRACE", 0.2)
    runner, log = Runner(options), options.work / "logs/slow.log"
    ends_within, limits = runner._ends_within, []

    def over_once_it_is_deaf(seconds: float) -> bool:
        """Say that the limit is over when the step has named its child; wait as ever otherwise."""
        limits.append(seconds)
        if len(limits) > 1:
            return ends_within(seconds)
        while runner.child.poll() is None and not log.read_text().endswith("\n"):
            time.sleep(0.01)
        return runner.child.poll() is not None

    monkeypatch.setattr(runner, "_ends_within", over_once_it_is_deaf)
    runner.run()
    slow, good = runner.results
    assert (slow.outcome, good.outcome) == ("over its limit", "passed")
    state = Path(f"/proc/{slow.note}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_no_step_begins_when_the_time_is_over(options: Options, monkeypatch):
    steps(monkeypatch, options, good="print('fine')")
    options.minutes, options.reserve = 1, 60
    runner = Runner(options)
    runner.run()
    assert [result.outcome for result in runner.results] == ["no time left"]


def test_a_signal_ends_the_step_and_skips_the_rest(options: Options, monkeypatch):
    code = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit('saved')); "
        "import os; os.kill(os.getppid(), signal.SIGTERM); time.sleep(600)"
    )
    steps(monkeypatch, options, train=code, good="print('fine')")
    runner = Runner(options)
    before = signal.signal(signal.SIGTERM, runner.stop)
    try:
        runner.run()
    finally:
        signal.signal(signal.SIGTERM, before)
    first, second = runner.results
    assert (first.outcome, first.note, second.outcome) == ("stopped", "saved", "stopped")
    assert (options.work / "stop").exists()


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 70), max_size=5),
    most=st.integers(10, 30),
    files=st.integers(2, 4),
    total=st.integers(36, 90),
)
def test_what_is_kept_comes_whole_in_calls_of_a_few_files(
    tmp_path_factory, sizes, most, files, total
):
    tmp_path = tmp_path_factory.mktemp("kept")
    given = ["--work", str(tmp_path / "work"), "--device", "cpu"]
    kept = {f"{i}.bin": os.urandom(size) for i, size in enumerate(sizes)}
    (tmp_path / "work/keep/handover").mkdir(parents=True)
    for name, data in kept.items():
        (tmp_path / "work/keep/handover" / name).write_bytes(data)
    got: dict[str, bytes] = {}
    for call in range(40):
        out = tmp_path / f"out-{call}"
        limits = ["--max-files", str(files), "--max-bytes", str(most)]
        limits += ["--max-total", str(total)]
        lines = collect(parse([*given, "--out", str(out), *limits]), "report")
        found = {path.name: path.read_bytes() for path in out.iterdir()}
        assert len(found) <= files
        assert all(len(data) <= most for data in found.values())
        assert sum(map(len, found.values())) <= total
        del found[REPORT]
        got |= found
        if not any(line.startswith("left for the next call") for line in lines):
            break
    for name, data in kept.items():
        cuts = sorted(n for n in got if n == name or n.startswith(f"{name}.cut-"))
        assert b"".join(got[cut] for cut in cuts) == data


def carried_names() -> set[str]:
    return {name.lower().replace("-", "_") for name in pack.PACKAGES}


def link_packages_of_the_machine(target: Path) -> None:
    """Link what a GPU machine has: everything that is installed here and is not carried."""
    target.mkdir()
    for found in importlib.metadata.distributions():
        name = found.metadata["Name"].lower().replace("-", "_")
        if name in carried_names() or name == "codec":
            continue
        for file in found.files or ():
            top = Path(file).parts[0]
            path = Path(str(found.locate_file(top)))
            link = target / top
            if top not in ("..", "__pycache__") and path.exists() and not link.is_symlink():
                link.symlink_to(path)


@pytest.mark.slow
def test_all_of_it_on_a_cpu_from_carried_wheels_without_a_network(tmp_path: Path):
    wheels = tmp_path / "wheels"
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    machine = os.uname().machine
    try:
        pack.wheels(wheels, here, machine, pack.PACKAGES)
    except subprocess.CalledProcessError:
        pytest.skip("no wheels can be downloaded here")
    source = tmp_path / "source" / "speech"
    source.mkdir(parents=True)
    for number in range(2):
        soundfile.write(source / f"{number}.wav", chirps(72_000, number), 24_000)
    clips = [AlignedClip(f"speech/{i}.wav", 0.2, 2.5, ((0, "AA"), (90, "S"))) for i in range(2)]
    write_table(source.parent / "phones.tsv", clips)
    pack.audio(source.parent, tmp_path / "packed", folders=2, most=1_000_000, kbits=64)

    venv, site = tmp_path / "venv", tmp_path / "machine"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    link_packages_of_the_machine(site)
    folder = next((venv / "lib").glob("python*/site-packages"))
    (folder / "machine.pth").write_text(f"{site}\n")
    python = venv / "bin/python"
    for name in ("soundfile", "soxr", "safetensors"):  # or the test would not test the wheels
        assert subprocess.run(
            [python, "-c", f"import {name}"], stderr=subprocess.DEVNULL
        ).returncode

    def call(*arguments: object) -> str:
        nowhere = {f"{name}_proxy": "http://127.0.0.1:9" for name in ("http", "https")}
        done = subprocess.run(
            [python, "-m", "bench.gpu.run", "--device", "cpu", *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **nowhere, "PIP_NO_INDEX": "1", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=860,
        )
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        return done.stdout

    work, out = tmp_path / "work", tmp_path / "out"
    for number in range(2):  # as if each folder came with a call of its own
        data = tmp_path / "packed" / str(number)
        call("--steps", "unpack", "--data", data, "--work", work, "--out", tmp_path / "none")
    limits = [
        "--set",
        "phonetic_weight=0.5",
        "--set",
        "first_dims=3",
        "--limit",
        "train=25",
        "--limit",
        "build=400",
        "--minutes",
        "14",
        "--reserve",
        "10",
    ]
    chosen = ("--steps", "wheels,build,tests,kernels,prepare,throughput,train")
    said = call(*chosen, "--wheels", wheels, "--work", work, "--out", out, *limits)
    for name in ("wheels", "build", "tests", "kernels", "prepare", "throughput", "train"):
        assert f"| {name} | passed |" in said
    assert "wrong_phones" in said
    handed = json.loads((out / "handover.json").read_bytes())["content"]
    found = {path.name for path in out.iterdir()}
    assert found == {
        REPORT, "weights.safetensors", "handover.json", *(part["name"] for part in handed["parts"])
    }  # fmt: skip

    # the next machine: from the handover alone
    work2, out2 = tmp_path / "work2", tmp_path / "out2"
    data = tmp_path / "packed" / "0"
    again = ("--steps", "wheels,unpack,prepare,train", "--data", data, "--resume-from", out)
    call(*again, "--wheels", wheels, "--work", work2, "--out", out2, *limits)
    reached = [step_of(folder) for folder in (out, out2)]
    assert 0 < reached[0] < reached[1]


def step_of(folder: Path) -> int:
    tree = json.loads((folder / "handover.json").read_bytes())["content"]["tree"]
    return dict(tree["dict"])["step"]


@pytest.mark.slow
def test_sigterm_leads_to_weights(tmp_path: Path):
    """Sent in the middle of training, it leaves a handover and weights in the output folder."""
    source = tmp_path / "source" / "speech"
    source.mkdir(parents=True)
    soundfile.write(source / "0.wav", chirps(72_000), 24_000)
    work, out = tmp_path / "work", tmp_path / "out"
    command = [sys.executable, "-m", "bench.gpu.run", "--device", "cpu", "--minutes", "8"]
    command += ["--steps", "unpack,prepare,train", "--data", str(source.parent)]
    command += ["--work", str(work), "--out", str(out)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    log = work / "logs" / "train.log"
    while process.poll() is None and not (log.exists() and "codebooks fitted" in log.read_text()):
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 1
    assert (out / "weights.safetensors").exists()
    assert (out / "handover.json").exists()
    assert "| train | stopped |" in (out / REPORT).read_text()


def test_the_next_models_settings_hold(tmp_path: Path):
    """They are settings, and the native engine runs a model of that shape."""
    from bench.random_weights import noise, write_weights
    from codec.engine.native import NativeBackend
    from codec.training.config import TrainConfig, read_changes

    config = TrainConfig().replace(read_changes(ROOT / "bench/gpu/next.json", ()))
    assert config.model.latency <= 0.08 * config.model.sample_rate
    assert config.phonetic_weight > 0
    backend = NativeBackend(write_weights(tmp_path / "next.safetensors", config.model))
    codes = backend.encode(noise(5000), 4)
    assert codes.shape == (4, config.model.n_frames(5000))
    assert np.isfinite(backend.decode(codes)).all()
