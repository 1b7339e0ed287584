"""Commands that cannot be meant, or are interrupted: one line, and nothing left behind."""

from __future__ import annotations

import base64
import io
import os
import re
import threading
from pathlib import Path

import click
import pytest
import soundfile

from codec.cli import files
from codec.cli.main import COMMANDS
from codec.cli.main import cli as group
from codec.files.plan import Job

NO_PATH = {"compose", "converse", "models", "speak"}  # whose first argument is something else


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - NO_PATH))
def test_an_empty_path_is_no_folder(cli, tmp_path, monkeypatch, command):
    if command in ("prepare", "train", "train-prior", "export"):
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    code, _, error = cli(command, "")
    assert code == 2
    assert "is a shell variable not set?" in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [("tokenize", "--format", "bin"), ("prepare",)])
def test_a_disk_that_is_full_is_named(small, cli, wav, tmp_path, command):
    resource = pytest.importorskip("resource", reason="limits of a process are of POSIX")
    if command[0] == "prepare":
        pytest.importorskip("torch")
    wav("in/a.wav", 240_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))  # as if no more were free
    try:
        code, out, err = cli(*command, tmp_path / "in", "-o", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (code, out) == (1, b"")
    assert err == f"codec: {tmp_path / 'out'}: file too large\n"


@pytest.fixture
def pages() -> None:
    pytest.importorskip("matplotlib", reason="pages need codec[bench]")


def test_a_report_of_a_name_that_is_not_utf8(pages, small, cli, wav, tmp_path):
    assert cli("compress", wav("a.wav"))[0] == 0
    name = tmp_path / os.fsdecode(b"x\xff\x1b[31m.nac")
    (tmp_path / "a.nac").rename(name)
    code, output, _ = cli("report", name)
    assert code == 0
    assert r"x\xff\x1b[31m.html" in output.decode()
    assert r"x\xff\x1b[31m.nac" in name.with_suffix(".html").read_text("utf-8")


def test_a_report_does_not_overwrite_its_input(small, cli, wav, tmp_path):
    assert cli("compress", wav("a.wav"))[0] == 0
    page = tmp_path / "a.html"
    (tmp_path / "a.nac").rename(page)
    data = page.read_bytes()
    code, _, error = cli("report", page, "-f")
    assert (code, page.read_bytes()) == (1, data)
    assert "would overwrite the input" in error


@pytest.mark.parametrize(
    "command",
    [
        "fit-latents . --model FILE -o FILE -f",
        "train-prior . --model FILE -o FILE -f",
        "train-speech . --voices FILE -o FILE -f",
        "train-lm . --init FILE -o FILE -f",
        "export FILE -o FILE -f",
        "continue FILE -o FILE -f",
        "speak Hello. --voice FILE -o FILE -f",
    ],
)
def test_what_a_command_reads_is_not_overwritten(cli, tmp_path, command):
    pytest.importorskip("torch")
    name = "input.wav" if command.startswith(("continue", "speak")) else "input.safetensors"
    file, link = tmp_path / name, tmp_path / f"link-{name}"
    file.write_bytes(b"precious")
    link.symlink_to(file)
    code, _, error = cli(
        *command.replace("-o FILE", f"-o {link}").replace("FILE", str(file)).split()
    )
    assert (code, file.read_bytes()) == (1, b"precious")
    assert "would overwrite the input" in error


@pytest.mark.parametrize(
    ("output", "page"),
    [("rep/", "rep/index.html"), ("rep", "rep.html"), ("rep.d", "rep.d.html"), (".", "a.html"),
     ("x/y.htm", "x/y.htm"), (None, "a.html")],
)  # fmt: skip
def test_a_report_is_a_page_or_lies_in_a_folder(
    pages, small, cli, wav, tmp_path, monkeypatch, output, page
):
    monkeypatch.chdir(tmp_path)
    assert cli("compress", wav("a.wav"))[0] == 0
    code, said, _ = cli("report", "a.nac", *([] if output is None else ["-o", output]))
    assert (code, said.decode()) == (0, f"{page}\n")
    assert (tmp_path / page).read_text("utf-8").startswith("<!")
    assert cli("report", "a.nac", *([] if output is None else ["-o", output]))[0] == 1


def test_a_report_goes_to_standard_output(pages, small, cli, wav, tmp_path):
    assert cli("compress", wav("a.wav"))[0] == 0
    assert cli("report", tmp_path / "a.nac")[0] == 0
    code, page, error = cli("report", tmp_path / "a.nac", "-o", "-")
    assert (code, error) == (0, "")
    assert page == (tmp_path / "a.html").read_bytes()
    assert sorted(path.name for path in tmp_path.glob("*.html")) == ["a.html"]


@pytest.mark.parametrize(
    ("channels", "rate", "said"),
    [(9, 24_000, "the mean of all channels, at 24000 Hz: a page cannot play 9 channels at 24000"),
     (1, 768_000, "You hear at 24000 Hz: a page cannot play 1 channel at 768000 Hz"),
     (8, 24_000, None)],
)  # fmt: skip
def test_a_report_of_what_no_page_plays_says_what_it_plays(
    pages, small, cli, wav, tmp_path, channels, rate, said
):
    assert cli("compress", wav("a.wav", 9000, rate, channels))[0] == 0
    code, page, error = cli("report", tmp_path / "a.nac", "-o", "-")
    assert (code, error) == (0, "")
    (player,) = re.findall(rb"data:audio/flac;base64,([^\"]+)", page)
    data = base64.b64decode(player)
    found, heard_rate = soundfile.read(io.BytesIO(data), always_2d=True)
    if said:
        assert said.encode() in page
        assert (heard_rate, found.shape[1]) == (24_000, 1)
    else:
        assert b"You hear" not in page
        assert (heard_rate, found.shape[1]) == (rate, channels)


@pytest.mark.parametrize("folder", [".", "/"])
def test_a_report_of_a_folder_is_refused(cli, folder):
    code, _, error = cli("report", folder)
    assert code == 1
    assert "is a folder" in error


@pytest.mark.parametrize("wrong", [["--device", "nosuch"], ["--run", "file"]])
def test_training_refuses_what_cannot_be_before_it_works(cli, tmp_path, monkeypatch, wrong):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    code, _, error = cli("train", ".", *wrong)
    assert code == 1
    assert "internal" not in error
    assert len(error.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_files_that_fail_because_of_an_interruption_are_not_reported(capfd):
    both, ended = threading.Barrier(2), threading.Event()

    def work(job, workers, progress):
        both.wait(30)
        if job.name == "a":
            raise KeyboardInterrupt
        while not progress._progress.stopped:
            pass
        ended.set()
        raise RuntimeError("cannot schedule new futures after shutdown")

    jobs = [Job(Path(name), Path(f"{name}.nac")) for name in "ab"]
    with pytest.raises(KeyboardInterrupt):
        files._run(jobs, [], work, threads=2, quiet=True)
    assert ended.wait(30)
    assert capfd.readouterr() == ("", "")


def test_no_option_takes_what_is_not_a_number():
    context = click.Context(group)
    numbers = [
        option
        for name in COMMANDS
        for option in group.get_command(context, name).params
        if isinstance(option.type, click.types.FloatParamType)  # ranges, too
    ]
    assert len(numbers) > 10
    for option in numbers:
        for wrong in ("nan", "inf", "-inf", "1e400"):  # JSON, as in run.json, has none of them
            with pytest.raises(click.UsageError, match=r"not a finite number|not in the range"):
                option.type.convert(wrong, option, None)


def test_no_silence_is_louder_than_audio_can_be(cli, tmp_path, wav):
    wav("in/a.wav")
    code, _, err = cli("tokenize", tmp_path / "in", "-o", tmp_path / "o", "--skip-silence", "1e6")
    assert code == 2
    assert "range" in err


def test_every_command_names_its_own_option_where_an_output_exists(cli, wav, tmp_path):
    (tmp_path / "out.latents").write_bytes(b"")
    code, _, err = cli("fit-latents", wav("a.wav"), "-o", tmp_path / "out.latents")
    assert (code, err) == (1, "codec: the output exists; --force overwrites it\n")
