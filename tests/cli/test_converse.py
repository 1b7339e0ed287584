"""The command that serves the page."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from codec.cli.converse import converse
from codec.errors import OptionError
from tests.helpers.cli import Cli

CLIPS = Path(__file__).parents[1] / "clips"


def test_a_backend_that_does_not_stream(cli: Cli) -> None:
    code, _, err = cli("converse", "--port", "0")
    assert code == 1
    assert "does not code audio while it arrives" in err


@pytest.mark.parametrize(
    "wrong", [["--port", "70000"], ["--detector", "ear"], ["--reply"], ["--codebooks", "many"]]
)
def test_wrong_usage(cli: Cli, wrong: list[str]) -> None:
    assert cli("converse", *wrong)[0] == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--patience", "60"], "patience is"),
        (["--reply", "nothing.wav"], "nothing.wav"),
        (["--reply", __file__], "test_converse.py"),
        (["--reply", "continue", "--lm", "nothing.safetensors"], "nothing.safetensors"),
        (["--ask", "cat"], "--ask and --voice belong to --reply speak"),
    ],
)
def test_a_mistake_is_an_error_of_one_line(cli: Cli, wrong: list[str], said: str) -> None:
    if "--lm" in wrong:
        pytest.importorskip("torch")
    code, _, err = cli("converse", "--port", "0", *wrong)
    assert code == 1
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "filters"),
    [((), False), (("--no-postfilter",), False), (("--postfilter",), True)],
    ids=str,
)
def test_replies_are_filtered_on_request(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], filters: bool
) -> None:
    pytest.importorskip("codec.engine._engine", reason="the native engine was not built")
    from codec.lm import duplex

    def conversation(*_: object, postfilter: bool, **__: object) -> None:
        raise OptionError(f"opened: {postfilter}")

    monkeypatch.setattr(duplex, "Conversation", conversation)
    with pytest.raises(OptionError, match=f"opened: {filters}"):
        converse.main(["--detector", "energy", *words], standalone_mode=False)


def test_it_serves_until_ctrl_c() -> None:
    pytest.importorskip("websockets", reason="needs websockets")
    pytest.importorskip("codec.engine._engine", reason="the native engine was not built")
    options = ["--port", "0", "--detector", "energy", "--reply", str(CLIPS / "strings.flac")]
    command = [sys.executable, "-m", "codec", "converse", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        address = process.stderr.readline().split()[1]
        with urllib.request.urlopen(address) as page:
            assert b"<title>Conversation</title>" in page.read()
            assert "default-src 'self'" in page.headers["Content-Security-Policy"]
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{address}../../setup.py")
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "stopped\n"
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.stderr.close()
