"""The comparison of codecs: counted bits, resumed runs, clips that fail, intervals and BD-rates."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("matplotlib", reason="reports need codec[bench]")
pytest.importorskip("scipy", reason="reports need codec[bench]")

import codec
from bench.random_weights import SMALL, write_weights
from codec.audio import resample
from codec.benchmark.clips import SAMPLE_RATE, find_sources
from codec.benchmark.page import write_page
from codec.benchmark.peers import PEERS, Options, choose, make
from codec.benchmark.peers.opus import ogg_packets
from codec.benchmark.run import Plan, run
from codec.benchmark.statistics import bd_rate, bootstrap, summarise
from codec.benchmark.tables import tokens_markdown
from codec.benchmark.tokens import codebook_use, order_0_bits, token_quality
from codec.benchmark.work import Result, at_rate
from codec.errors import DataError, PeerError
from codec.quality.metrics import broken
from tests.helpers.cli import Cli
from tests.helpers.enhancers import write_enhancer

ROOT = Path(codec.__file__).parents[1]


def voice(seconds: float, rate: int = SAMPLE_RATE, seed: int = 0) -> np.ndarray:
    time_ = np.arange(round(seconds * rate)) / rate
    tone = sum(np.sin(2 * np.pi * 140 * k * time_ + seed) / k for k in range(1, 20))
    envelope = 0.2 + np.clip(np.sin(2 * np.pi * 3 * time_), 0, None)
    noise = np.random.default_rng(seed).normal(0, 1e-3, len(time_))
    return (0.1 * tone * envelope + noise).astype(np.float32)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("codec.engine._engine", reason="needs the native engine")
    path = write_weights(tmp_path_factory.mktemp("weights") / "w.safetensors", SMALL)
    write_enhancer(path, codec.load(path).model_id)
    return path


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in range(3):
        soundfile.write(folder / f"music_{number}.wav", voice(0.5, seed=number), SAMPLE_RATE)
    return folder


def plan_of(clips: Path, report: Path, weights: Path, **changes: Any) -> Plan:
    given: dict[str, Any] = {
        "peers": ("codec", "pcm"),
        "metrics": ("mel", "si_sdr"),
        "options": Options(str(weights), "raw"),
        "jobs": 1,
    }
    return Plan((clips,), report, **(given | changes))


# The tools that are installed here, each at a setting, with the kbit/s that may come of it.
TOOLS = [
    ("opus", "12", 6, 20), ("opus", "24", 14, 34), ("codec2", "3200", 3.2, 3.3),
    ("codec2", "700C", 0.7, 0.75), ("mp3", "24", 20, 28), ("aac", "24", 16, 32),
    ("speex", "10", 6, 14), ("pcm", "16", 384, 384),
]  # fmt: skip


@pytest.mark.parametrize(("name", "setting", "low", "high"), TOOLS)
def test_tools_code_audio_at_their_rate(name: str, setting: str, low: float, high: float) -> None:
    try:
        peer = make(name, Options())
    except PeerError as error:
        pytest.skip(str(error))
    audio = voice(3, peer.sample_rate)
    encoded = peer.encode(audio, setting)
    assert low <= encoded.payload_bits / 3000 <= high
    assert encoded.payload_bits <= encoded.container_bits
    decoded = at_rate(peer.decode(encoded.data, setting), peer.sample_rate, 3 * SAMPLE_RATE)
    original = at_rate(audio, peer.sample_rate, 3 * SAMPLE_RATE)
    levels = [np.abs(x.reshape(-1, 1200)).mean(axis=1) for x in (original, decoded)]
    # vocoders are late by some 20 ms
    assert np.corrcoef(*levels)[0, 1] > 0.7
    with pytest.raises(PeerError):
        peer.encode(audio, "nonsense") if name != "pcm" else make("nobody", Options())


def test_ours_counts_the_payload_of_its_chunks(weights: Path) -> None:
    peer = make("codec", Options(str(weights), "raw"))
    audio = voice(3.1, peer.sample_rate)
    each = SMALL.bitrate_per_codebook / 1000
    encoded = peer.encode(audio, f"{2 * each:g}")
    frames = SMALL.n_frames(len(audio))
    bits = frames * 2 * SMALL.bits_per_code
    assert bits <= encoded.payload_bits < bits + 8 * 3  # three chunks, each of whole bytes
    assert encoded.payload_bits < encoded.container_bits
    model = codec.load(weights)
    assert np.array_equal(
        peer.decode(encoded.data, ""),
        model.decode(model.encode(audio, peer.sample_rate, n_codebooks=2))[0],
    )


@pytest.mark.parametrize(
    ("name", "search"),
    [
        ("codec", {}),
        ("codec-beam", {"beam": 16}),
        ("codec-refine", {"beam": 16, "refine": 20}),
        ("codec-enhance", {}),
        ("codec-refine-enhance", {"beam": 16, "refine": 20}),
    ],
)
def test_ours_does_as_its_name_says(weights: Path, name: str, search: dict[str, int]) -> None:
    pytest.importorskip("codec.engine._engine", reason="needs the native engine")
    peer, audio = make(name, Options(str(weights), "raw")), voice(1.3, SMALL.sample_rate)
    assert peer.name == name
    encoded = peer.encode(audio, f"{2 * SMALL.bitrate_per_codebook / 1000:g}")
    model = codec.load(weights)
    tokens = model.encode(audio, peer.sample_rate, n_codebooks=2, **search)
    expected = model.decode(tokens, enhance=name.endswith("-enhance"))[0]
    assert np.array_equal(peer.decode(encoded.data, ""), expected)


def test_ogg_packets_may_span_pages() -> None:
    def page(lacing: list[int]) -> bytes:
        return b"OggS" + bytes(22) + bytes([len(lacing), *lacing]) + bytes(sum(lacing))

    stream = page([3]) + page([255, 255]) + page([7, 20, 255, 0]) + page([])
    assert [len(packet) for packet in ogg_packets(stream)] == [3, 517, 20, 255]
    with pytest.raises(PeerError, match="cut"):
        ogg_packets(stream + page([9])[:-1])
    with pytest.raises(PeerError, match="not an Ogg stream"):
        ogg_packets(stream + b"garbage")


def test_nolace_enhances_the_stream_of_plain_opus() -> None:
    try:
        plain, enhanced = make("opus", Options()), make("opus-nolace", Options())
    except PeerError as error:
        pytest.skip(str(error))
    speech, rate = soundfile.read(ROOT / "tests/clips/speech.flac", dtype="float32")
    encoded = plain.encode(resample(speech, rate, plain.sample_rate), "9")
    one, other = (peer.decode(encoded.data, "9") for peer in (plain, enhanced))
    assert len(one) == len(other)
    assert np.abs(one - other).max() > 1e-3
    assert np.corrcoef(one, other)[0, 1] > 0.9


def test_nolace_is_skipped_without_its_package(tmp_path: Path) -> None:
    _, missing = choose(["opus-nolace"], Options(opus_ml=tmp_path))
    tools = all(map(shutil.which, ("node", "opusenc", "opusdec")))
    assert ("npm install" if tools else "not installed") in missing["opus-nolace"]


def test_codecs_of_adapters_from_a_folder(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    from codec.benchmark.peers.adapters import Adapted

    fields = {"num_filters": 4, "hidden_size": 16, "codebook_dim": 16, "codebook_size": 64,
              "num_lstm_layers": 1}  # fmt: skip
    config = transformers.EncodecConfig(**fields)
    transformers.EncodecModel(config).save_pretrained(tmp_path)
    peer = Adapted("encodec", "EnCodec", str(tmp_path), ("0.9", "all"))
    audio = voice(1, peer.sample_rate)
    two, every = (peer.encode(audio, setting) for setting in peer.settings)
    assert two.payload_bits == 75 * 2 * 6  # frames, codebooks of .45 kbit/s, bits
    assert every.payload_bits == 75 * peer.adapter.config.n_codebooks * 6
    decoded = peer.decode(two.data, "0.9")
    assert len(decoded) == len(audio)
    assert np.isfinite(decoded).all()
    with pytest.raises(PeerError, match="codebooks"):
        peer.encode(audio, "50")
    with pytest.raises(PeerError, match="nor in the local cache"):
        Adapted("mimi", "Mimi", str(tmp_path / "missing"), ("4",))


def test_missing_codecs_are_named_and_skipped(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found, missing = choose(["opus", "pcm", "lyra", "opus"], Options())
    assert [peer.name for peer in found] == ["pcm"]
    assert missing["opus"] == "opusenc is not installed (Debian: opus-tools)"
    assert "--lyra" in missing["lyra"]
    with pytest.raises(PeerError, match=r"no codec 'ogg'; choose from codec, .*, xcodec2"):
        choose(["ogg"], Options())
    assert set(PEERS) > {"codec", "opus", "lyra", "codec2", "speex", "mp3", "aac"}


def test_opus_is_the_reference_where_it_is_installed(
    clips: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plan(**changes: Any) -> Plan:
        codecs = {"peers": ("opus", "pcm"), "metrics": ("mel",)} | changes
        return plan_of(clips, tmp_path / "report", weights, **codecs)

    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = run(plan())
    assert outcome.skipped == {"opus": "opusenc is not installed (Debian: opus-tools)"}
    assert {result.codec for result in outcome.results} == {"pcm"}
    with pytest.raises(PeerError, match="the reference opus: opusenc is not installed"):
        run(plan(reference="opus"))
    with pytest.raises(PeerError, match="the reference lyra: it is not among the codecs"):
        run(plan(reference="lyra"))
    with pytest.raises(DataError, match="no measure 'nope'"):
        run(plan(reference="opus", metrics=("nope",)))
    with pytest.raises(DataError, match="no measure is named"):
        run(plan(metrics=()))
    with pytest.raises(DataError, match="no codec is named"):
        run(plan(peers=()))
    with pytest.raises(PeerError, match="settings of cdec: it is not among the codecs"):
        run(plan(settings={"cdec": ("1",)}))
    with pytest.raises(DataError, match="codec at 999: no bitrate of 999 kbit/s"):
        run(plan(peers=("codec", "opus"), settings={"codec": ("999",)}))


def test_a_measure_of_a_clip_that_is_too_short_is_left_out(
    clips: Path, weights: Path, tmp_path: Path
) -> None:
    pytest.importorskip("visqol")
    soundfile.write(clips / "music_0.wav", voice(1.5), SAMPLE_RATE)
    for name, samples in (("music_1", SAMPLE_RATE // 10), ("music_2", 1)):
        soundfile.write(clips / f"{name}.wav", 0.5 * np.ones(samples), SAMPLE_RATE)
    plan = plan_of(clips, tmp_path / "report", weights, peers=("pcm",), metrics=("visqol", "mel"))
    outcome = run(plan)
    omitted = [(item.metric, item.clip, item.reason) for item in outcome.summary.omissions]
    why = "ViSQOL: too short or too quiet"
    assert omitted == [("visqol", "music_1", why), ("visqol", "music_2", why)]
    (row,) = outcome.summary.rows
    values = {result.clip: result.values for result in outcome.results}
    assert row.metrics["visqol"].mean == values["music_0"]["visqol"]
    assert row.metrics["mel"].mean == np.mean([values[clip]["mel"] for clip in sorted(values)])


def test_a_report_says_that_no_clip_has_a_value(tmp_path: Path, weights: Path) -> None:
    pytest.importorskip("visqol")
    clip = tmp_path / "short.wav"
    soundfile.write(clip, voice(0.1), SAMPLE_RATE)
    run(plan_of(clip, tmp_path / "report", weights, peers=("pcm",), metrics=("visqol",)))
    page = write_page(tmp_path / "report").read_text(encoding="utf-8")
    assert "visqol of short, pcm at 16: ViSQOL: too short or too quiet" in page


@pytest.mark.slow
def test_a_run_is_resumed_and_added_to(clips: Path, weights: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    seen: list[Result] = []
    first = run(plan_of(clips, report, weights), done=seen.append)
    assert len(seen) == len(first.results) == 12
    assert first.reused == 0
    tables = {name: (report / name).read_bytes() for name in ("results.csv", "summary.json")}

    # As a kill leaves it: the last line cut off, one decoded clip gone.
    journal = report / "results.jsonl"
    journal.write_bytes(journal.read_bytes()[:-40])
    gone = report / "decoded" / "pcm@16" / "music_1.flac"
    gone.unlink()
    seen.clear()
    again = run(plan_of(clips, report, weights), done=seen.append)
    assert len(seen) == 2
    assert again.reused == 10
    assert gone.exists()
    assert {name: (report / name).read_bytes() for name in tables} == tables

    # Another measure is another measurement; what was measured before stays known.
    seen.clear()
    run(plan_of(clips, report, weights, metrics=("mel",), peers=("pcm",)), done=seen.append)
    assert len(seen) == 3
    assert run(plan_of(clips, report, weights)).reused == 12


def test_a_killed_run_goes_on(clips: Path, weights: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    arguments = ["bench", clips, "-o", report, "--peers", "codec,pcm", "--metrics", "mel,si_sdr"]
    arguments += ["--model", weights, "--effort", "raw", "-j", "1", "--clips", "0"]
    command = [sys.executable, "-m", "codec", *map(str, arguments)]
    journal = report / "results.jsonl"
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 2):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = journal.read_bytes().count(b"\n")
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"12 measurements, {done} of them from an earlier run" in finished.stdout
    assert finished.stderr == ""
    with (report / "results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 12


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_a_run(
    clips: Path, weights: Path, tmp_path: Path, number: signal.Signals
) -> None:
    psutil = pytest.importorskip("psutil", reason="psutil is not installed")
    report = tmp_path / "report"
    arguments = ["bench", clips, "-o", report, "-q", "--peers", "codec-refine", "--metrics", "mel"]
    arguments += ["--model", weights, "--effort", "raw", "-j", "2", "--clips", "0"]
    command = [sys.executable, "-m", "codec", *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    journal = report / "results.jsonl"
    while not (journal.exists() and journal.read_bytes()):
        assert process.poll() is None
        time.sleep(0.01)
    others = psutil.Process(process.pid).children(recursive=True)
    assert len(others) >= 2
    process.send_signal(number)  # to this one alone
    alive = psutil.wait_procs(others, timeout=60)[1]
    left = [other for other in alive if other.status() != psutil.STATUS_ZOMBIE]
    for other in left:
        other.kill()
    assert not left
    said = process.communicate()[1]
    if number == signal.SIGKILL:  # what multiprocessing says then, we do not choose
        assert process.returncode == -number
    else:
        line = "codec: interrupted" if number == signal.SIGINT else ""
        assert (process.returncode, said.strip()) == (128 + number, line)
    assert not list(report.rglob("*.part"))


def test_a_setting_that_is_given_twice_is_measured_once(
    clips: Path, weights: Path, tmp_path: Path
) -> None:
    twice = {"pcm": ("16", "16")}
    outcome = run(plan_of(clips, tmp_path / "report", weights, peers=("pcm",), settings=twice))
    assert len(outcome.results) == 3


def test_what_cannot_be_read_or_coded_is_left_out_for_all(
    clips: Path, weights: Path, tmp_path: Path
) -> None:
    (clips / "music_bad.flac").write_bytes(b"fLaC" + bytes(100))
    soundfile.write(clips / "music_silent.wav", np.zeros(9000), SAMPLE_RATE)
    outcome = run(plan_of(clips, tmp_path / "report", weights))
    assert set(outcome.rejected) == {"music_bad", "music_silent"}
    assert "silent" in outcome.rejected["music_silent"]
    assert {result.clip for result in outcome.results} == {"music_0", "music_1", "music_2"}
    said = json.loads((tmp_path / "report" / "report.json").read_text())
    assert set(said["rejected"]) == {"music_bad", "music_silent"}
    failing = plan_of(clips, tmp_path / "other", weights, settings={"codec": ("99",)})
    with pytest.raises(DataError, match=r"music_0: codec at 99: no bitrate of 99 kbit/s"):
        run(failing)


def test_bench_fails_in_the_end_if_it_left_out_a_clip(
    cli: Cli, clips: Path, weights: Path, tmp_path: Path
) -> None:
    args = ("bench", clips, "-o", tmp_path / "report", "-q", "-j", 1, "--peers", "pcm",
            "--settings", "pcm=16", "--metrics", "mel", "--clips", 0)  # fmt: skip
    code, _, err = cli(*args)
    assert code == 0, err
    (clips / "gone.wav").symlink_to("nowhere")
    code, out, err = cli(*args)
    assert (code, err) == (1, "left out gone: No such file or directory\n")
    assert b"index.html: 3 measurements, 3 of them from an earlier run" in out


def test_a_report_is_whole(clips: Path, weights: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    shutil.copy(clips / "music_0.wav", clips / "MUSIC_0.flac.wav")
    outcome = run(plan_of(clips, report, weights, reference="pcm"))
    assert {path.name for path in (report / "original").iterdir()} == {
        *(f"music_{n}.flac" for n in range(3)), "MUSIC_0.flac.flac",
    }  # fmt: skip
    for result in outcome.results:
        folder = report / "decoded" / f"{result.codec}@{result.setting}"
        assert soundfile.info(folder / f"{result.clip}.flac").frames == SAMPLE_RATE // 2
    assert {path.name for path in (report / "plots").iterdir()} >= {
        "music_mel.svg", "music_mel.png", "music_si_sdr.svg",
    }  # fmt: skip
    pq = pytest.importorskip("pyarrow.parquet")
    table = pq.read_table(report / "results.parquet").to_pylist()
    with (report / "results.csv").open(newline="") as file:
        for row, values in zip(csv.DictReader(file), table, strict=True):
            assert float(row["si_sdr"]) == values["si_sdr"]
            assert row["clip"] == values["clip"]
    said = json.loads((report / "report.json").read_text())
    assert said["reference"] == "pcm"
    assert [metric["name"] for metric in said["metrics"]] == ["mel", "si_sdr"]


def test_sources_have_kinds_texts_and_names_of_their_own(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for name in ("speech_x.wav", "tune.wav", "Speech_X.WAV"):
            soundfile.write(tmp_path / folder / name, voice(0.1), 8000, format="WAV")
    table = tmp_path / "t.tsv"
    table.write_text('path\ttext\nelsewhere/tune.wav\tSAID "SO\n')
    found = find_sources([tmp_path / "a", tmp_path / "b"], transcripts=table)
    names = {s.name.casefold() for s in found}
    assert names == {"speech_x", *(f"speech_x-{n}" for n in (2, 3, 4)), "tune", "tune-2"}
    assert {s.kind for s in found} == {"speech"}  # by their names, or by having a transcript
    assert {s.text for s in found if s.path.name == "tune.wav"} == {'SAID "SO'}
    with pytest.raises(DataError, match="no such file"):
        find_sources([tmp_path / "c"])
    table.write_text("file\tsaid\n")
    with pytest.raises(DataError, match="columns"):
        find_sources([tmp_path / "a"], transcripts=table)


def test_kinds_of_folders_and_tables(tmp_path: Path) -> None:
    for name in ("Music/deep/speech_x.wav", "speech/y.wav", "z.wav", "other/w.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "again").symlink_to(tmp_path)
    table = tmp_path / "t.tsv"
    table.write_text("path\tkind\nw.wav\tgeneral\n", encoding="utf-8-sig")
    found = {s.name: s.kind for s in find_sources([tmp_path], transcripts=table)}
    assert found == {"y": "speech", "speech_x": "music", "w": "general", "z": "audio"}
    with pytest.raises(DataError, match="a named pipe"):
        find_sources([tmp_path / "pipe.wav"])


def test_what_is_not_audio_is_told_and_long_names_are_cut(tmp_path: Path) -> None:
    for stem in ("x" * 251, "x" * 240, "\N{HIRAGANA LETTER A}" * 80):
        (tmp_path / f"{stem}.wav").touch()
    (tmp_path / "notes.txt").touch()
    os.mkfifo(tmp_path / "pipe.wav")
    lines: list[str] = []
    names = [source.name for source in find_sources([tmp_path], report=lines.append)]
    assert sorted(names) == ["x" * 200, "x" * 200 + "-2", "\N{HIRAGANA LETTER A}" * 66]
    assert sorted(lines) == [
        f"{tmp_path / 'pipe.wav'}: a named pipe, not a regular file: skipped",
        f"{tmp_path}: 1 file is not audio: 1 .txt",
    ]


def test_a_broken_measure_is_named_with_the_real_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "resemblyzer.py").write_text("import pkg_resources_that_is_gone")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "resemblyzer", raising=False)
    monkeypatch.setitem(sys.modules, "pesq", None)
    found = broken(["speaker_sim", "pesq_wb", "mel"])
    assert "resemblyzer does not load: No module named 'pkg_res" in found.pop("speaker_sim")
    assert list(found) == ["pesq_wb"]


def test_bench_leaves_out_a_measure_whose_package_does_not_load(
    tmp_path: Path, clips: Path, weights: Path
) -> None:
    pytest.importorskip("torch", reason="speaker similarity needs torch first")
    gone = "raise ModuleNotFoundError(\"No module named 'pkg_resources'\", name='pkg_resources')"
    packages = {
        "resemblyzer": "from webrtcvad import Vad",
        "webrtcvad": "import pkg_resources",
        "pkg_resources": gone,
    }
    for name, text in packages.items():
        (tmp_path / "packages" / name).mkdir(parents=True)
        (tmp_path / "packages" / name / "__init__.py").write_text(text)
    command = [
        sys.executable, "-m", "codec", "bench", clips, "-o", tmp_path / "report", "-q", "-j", "1",
        "--peers", "codec,pcm", "--settings", "pcm=16", "--model", weights, "--effort", "raw",
        "--kind", "speech", "--metrics", "speaker_sim,mel", "--clips", "0",
    ]  # fmt: skip
    path = os.pathsep.join([str(tmp_path / "packages"), str(ROOT)])
    run = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    reason = "resemblyzer does not load: No module named 'pkg_resources'"
    assert run.stderr.splitlines() == [f"not measured: speaker_sim: {reason}"]
    assert "| mel distance |" in run.stdout
    assert "speaker" not in run.stdout


@given(
    factor=st.floats(0.2, 5),
    values=st.lists(st.floats(1, 5), min_size=2, max_size=6, unique=True),
)
@settings(max_examples=50)
def test_bd_rate_of_a_scaled_rate_is_the_factor(factor: float, values: list[float]) -> None:
    values = sorted(values)
    if min(np.diff(values)) < 1e-3:
        values = list(np.linspace(1, 2, len(values)))
    curve = [(2.0**i, value) for i, value in enumerate(values)]
    scaled = [(factor * rate, value) for rate, value in curve]
    assert bd_rate(curve, scaled) == pytest.approx(100 * (factor - 1), abs=1e-6)
    assert bd_rate(curve, [(rate, value + 10) for rate, value in curve]) is None
    assert bd_rate(curve, curve[:1]) is None


def test_bd_rate_leaves_out_what_more_bits_do_not_improve() -> None:
    curve = [(1.0, 1.0), (2.0, 2.0), (4.0, 3.0)]
    assert bd_rate(curve, [*curve, (3.0, 1.5)]) == pytest.approx(0, abs=1e-9)


def test_bootstrap_covers_the_mean() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        found = bootstrap(rng.normal(3, 1, 30))
        assert found.low <= found.mean <= found.high
        inside += found.low <= 3 <= found.high
    assert 180 <= inside <= 199  # 95 %, less what the percentile interval lacks at 30
    constant = bootstrap([2.5] * 4)
    assert (constant.low, constant.mean, constant.high) == (2.5, 2.5, 2.5)


def test_a_clip_without_a_value_counts_for_no_codec() -> None:
    def result(clip: str, codec_: str, value: float | None) -> Result:
        values = {} if value is None else {"stoi": value}
        failed = {"stoi": "no speech"} if value is None else {}
        return Result("", clip, "speech", codec_, "1", 1.0, 1.0, 1.0, 0.0, values, failed)

    summary = summarise(
        [
            result("a", "x", 0.5),
            result("b", "x", 0.9),
            result("a", "y", 0.7),
            result("b", "y", None),
        ],
        None,
    )
    assert [row.metrics["stoi"].mean for row in summary.rows] == [0.5, 0.7]
    assert [(item.clip, item.codec, item.reason) for item in summary.omissions] == [
        ("b", "y", "no speech")
    ]


def test_tokens_are_described(weights: Path) -> None:
    pytest.importorskip("codec.coders._entropy", reason="needs the entropy coders")
    model = codec.load(weights)
    clips = [voice(2, seed=seed) for seed in range(2)]
    found = token_quality(model, clips)
    assert (found.clips, found.frames) == (2, 2 * SMALL.n_frames(2 * SAMPLE_RATE))
    assert set(found.chunkings.values()) == {1.0}
    codes = np.concatenate([model.encode(clip, SAMPLE_RATE).codes[0] for clip in clips], axis=1)
    for level, row in zip(found.levels, codes, strict=True):
        assert level.used == len(np.unique(row)) / SMALL.codebook_size
        assert 1 <= level.perplexity <= SMALL.codebook_size
        assert level.order_0 >= np.log2(level.perplexity)  # corrected for few frames
    assert found.bits_per_second("raw", 2) == pytest.approx(2 * SMALL.bitrate_per_codebook)
    for change in found.changes:
        assert len(change.kept) == SMALL.n_codebooks
        assert all(0 <= share <= 1 for share in change.kept)
    text = tokens_markdown(found)
    assert "| pushed 17 samples at a time | 100%" in text
    assert "perplexity" in text


def test_frequencies_tell_the_bits() -> None:
    codes = np.array([[0, 1, 2, 3] * 500, [5] * 2000], np.uint16)
    assert codebook_use(codes[0], 8) == (0.5, pytest.approx(4.0))  # type: ignore[comparison-overlap]
    assert codebook_use(codes[1], 8) == (0.125, 1.0)
    even, constant = order_0_bits(codes, 8)
    assert even == pytest.approx(2 * 2000, abs=3)
    assert constant == 0
