"""The page's server, spoken to as the page does, and the page itself in Chromium."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import codec
from codec.lm.duplex import Conversation, EnergyDetector, TurnTaking
from codec.lm.duplex.answers import recording, repeat
from codec.lm.duplex.server import MOST, serve

websockets = pytest.importorskip("websockets", reason="needs websockets")
pytest.importorskip("codec.engine._engine", reason="the native engine was not built")

from websockets.sync.client import connect  # noqa: E402

CLIPS = Path(__file__).parents[2] / "clips"
RATE = 24_000
MODEL = codec.load()


def microphone(*parts: float | str) -> np.ndarray:
    """Int16 samples: silences of so many seconds, with a little noise, and clips."""
    rng = np.random.default_rng(0)
    made = [
        soundfile.read(CLIPS / f"{p}.flac", dtype="int16", always_2d=True)[0][:, 0]
        if isinstance(p, str)
        else np.rint(rng.standard_normal(round(p * RATE)) * 10).astype(np.int16)
        for p in parts
    ]
    return np.concatenate(made)


def make(on_event: Any) -> Conversation:
    return Conversation(
        MODEL, repeat, n_codebooks=4, detector=EnergyDetector(RATE), echo=None, threaded=False,
        rules=TurnTaking(adaptive=False), on_event=on_event,
    )  # fmt: skip


@pytest.fixture
def address() -> Iterator[str]:
    """The page's address on a server that runs in a thread."""
    found: list[str] = []
    ready = threading.Event()
    loop = asyncio.new_event_loop()

    def started(address: str) -> None:
        found.append(address)
        ready.set()

    task = loop.create_task(serve(make, "127.0.0.1", 0, started))

    def run() -> None:
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(30)
    yield found[0]
    loop.call_soon_threadsafe(task.cancel)
    thread.join(30)
    loop.close()


def talk(address: str, mic: np.ndarray, rate: int = RATE) -> tuple[list[dict[str, Any]], bytes]:
    """Send the microphone in blocks; return the events and the sound that came back."""
    events, played = [], []
    with connect(f"{address.replace('http', 'ws')}talk?rate={rate}", max_size=None) as socket:
        assert json.loads(socket.recv()) == {"kind": "ready", "rate": rate}
        for at in range(0, len(mic), 480):
            socket.send(mic[at : at + 480].astype("<i2").tobytes())
            while isinstance(message := socket.recv(), str):
                events.append(json.loads(message))
            played.append(message)
    return events, b"".join(played)


def test_a_conversation_over_a_socket(address: str) -> None:
    mic = microphone(0.5, "speech", 1.0, "speech", 3.0)
    events, played = talk(address, mic)
    direct: list[Any] = []
    conversation = make(direct.append)
    expected = conversation.exchange(mic)
    assert [event["kind"] for event in events] == [event.kind for event in direct]
    assert "reply interrupted" in [event["kind"] for event in events]
    sound = np.clip(np.rint(expected * 32768), -32768, 32767).astype("<i2")
    assert played == sound.tobytes()
    states = {event["kind"]: event["state"] for event in events}
    assert states["turn began"] == "hearing"
    assert states["reply began"] == "speaking"
    assert states["reply ended"] == "listening"


def test_a_browser_with_a_rate_of_its_own(address: str) -> None:
    soxr = pytest.importorskip("soxr")
    mic = soxr.resample(microphone(0.5, "speech", 3.5), RATE, 48_000)
    events, played = talk(address, mic, 48_000)
    assert [event["kind"] for event in events][-1] == "reply ended"
    assert abs(len(played) // 2 - len(mic)) < 4800


def test_wrong_messages_end_the_conversation(address: str) -> None:
    for message in ("text", b"odd"):
        with connect(f"{address.replace('http', 'ws')}talk") as socket:
            socket.recv()
            socket.send(message)
            with pytest.raises(websockets.ConnectionClosed) as error:
                socket.recv()
            assert error.value.rcvd.code == 1003
    for rate in ("0", "abc", "9999999"):
        with connect(f"{address.replace('http', 'ws')}talk?rate={rate}") as socket:
            with pytest.raises(websockets.ConnectionClosed) as error:
                socket.recv()
            assert error.value.rcvd.code == 1008


def test_too_many_visitors_are_sent_away(address: str) -> None:
    url = f"{address.replace('http', 'ws')}talk"
    with contextlib.ExitStack() as stack:
        for _ in range(MOST):
            stack.enter_context(connect(url)).recv()
        with connect(url) as socket, pytest.raises(websockets.ConnectionClosed) as error:
            socket.recv()
        assert error.value.rcvd.code == 1013
    assert talk(address, microphone(0.1))[0] == []


def test_other_pages_of_the_browser_cannot_listen(address: str) -> None:
    url = f"{address.replace('http', 'ws')}talk"
    with connect(url, origin=address.rstrip("/")) as socket:  # type: ignore[call-overload]
        socket.recv()
    with pytest.raises(websockets.InvalidStatus):
        connect(url, origin="https://example.org")  # type: ignore[call-overload]


def test_a_port_that_is_taken(address: str) -> None:
    port = int(address.rstrip("/").rpartition(":")[2])
    with pytest.raises(codec.OutputError, match=f"port {port}"):
        asyncio.run(serve(make, "127.0.0.1", port))


def test_without_websockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "websockets.asyncio.server", None)
    with pytest.raises(codec.MissingPackageError, match=r"codec\[converse\]"):
        asyncio.run(serve(make, "127.0.0.1", 0))


def test_a_recording_is_replied_with() -> None:
    reply = recording(CLIPS / "strings.flac", MODEL, 4)
    audio, rate = soundfile.read(CLIPS / "strings.flac", dtype="float32")
    expected = MODEL.encode(audio.T, rate, n_codebooks=4).codes[0]
    assert np.array_equal(reply(None), expected)  # type: ignore[arg-type]
    with pytest.raises(codec.AudioError):
        recording(Path(__file__), MODEL, 4)


class Watched:
    """A page that keeps what it must not do."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        context = browser.new_context(viewport={"width": 900, "height": 1000}, **options)
        context.grant_permissions(["microphone"])
        self.page = context.new_page()
        self.wrong: list[str] = []
        self.page.on("console", lambda m: m.type == "error" and self.wrong.append(m.text))  # type: ignore[func-returns-value]
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda r: r.url.startswith(address) or self.wrong.append(r.url))  # type: ignore[func-returns-value]
        self.page.goto(address)

    def wait(self, condition: str) -> None:
        self.page.evaluate(f"""async () => {{
            for (let i = 0; i < 1500 && !({condition}); i++)
                await new Promise((resolve) => setTimeout(resolve, 20));
            if (!({condition})) throw new Error("it did not come to that");
        }}""")

    def count(self, name: str) -> int:
        return int(self.page.locator(f"#{name}").inner_text())


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """Chromium, whose microphone hears a turn, and another one while it is replied to."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if path is None:
        pytest.skip("needs Chromium")
    soundfile.write(tmp_path / "mic.wav", microphone(2.0, "speech", 1.5, "speech", 8.0), RATE)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=[
                "--no-sandbox",
                "--autoplay-policy=no-user-gesture-required",
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-audio-capture={tmp_path / 'mic.wav'}%noloop",
            ],
        )
        yield browser
        browser.close()


@pytest.mark.slow
def test_the_page_hears_replies_and_falls_silent(address: str, browser: Any) -> None:
    watched = Watched(browser, address)
    page = watched.page
    states: list[str] = []
    page.expose_function("seen", lambda state: states.append(state))
    page.evaluate("""() => new MutationObserver(() => window.seen(document.body.dataset.state))
        .observe(document.body, { attributes: true, attributeFilter: ["data-state"] })""")
    assert page.locator("#now").inner_text() == "Not connected"
    page.get_by_role("button", name="Start").click()
    watched.wait("document.querySelector('#events').innerText.includes('reply interrupted')")
    assert page.locator("#states [aria-current]").inner_text() == "Interrupted"
    watched.wait("Number(document.querySelector('#replies').innerText) === 2")
    watched.wait("document.querySelector('#events').innerText.includes('reply ended')")
    assert [watched.count(name) for name in ("turns", "replies", "interruptions")] == [2, 2, 1]
    kinds = page.locator("#events li").all_inner_texts()
    interrupted = next(i for i, text in enumerate(kinds) if "reply interrupted" in text)
    assert any("reply held" in text for text in kinds[:interrupted])  # it was silent before
    order = ["listening", "hearing", "thinking", "speaking", "interrupted"]
    assert [states.index(state) for state in order] == sorted(map(states.index, order))
    page.get_by_role("button", name="Stop").click()
    assert page.locator("#now").inner_text() == "Not connected"
    assert watched.wrong == []
