"""The page in a browser: players, table, blind listening; and the results that it saves."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import codec
from codec.benchmark.listening import guessing, markdown, merge
from codec.benchmark.page import as_json, choose_clips, loudness_gain, write_page
from codec.benchmark.peers import Options
from codec.benchmark.run import Plan, run
from codec.errors import DataError, FormatError
from tests.helpers.processes import python
from tests.helpers.signals import noise

HOSTILE = "speech_<img src=x onerror=alert(1)>&quot;"
RATE = 24_000
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on noise: 16-bit samples, and MP3 if ffmpeg is here, or else another name of PCM."""
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs ffmpeg for a codec to compare with")
    folder = tmp_path_factory.mktemp("page")
    clips = folder / "clips"
    clips.mkdir()
    for number, name in enumerate((HOSTILE, "speech_b", "music_c")):
        audio = noise(2 * RATE, number)
        audio[RATE // 2] = 1.0  # full scale, so that whatever is made louder would clip
        soundfile.write(clips / f"{name}.wav", audio, RATE)
    plan = Plan(
        (clips,), folder / "report", ("mp3", "aac"), {"mp3": ("24", "32"), "aac": ("24", "48")},
        ("mel", "si_sdr"), reference="aac", options=Options(), jobs=1,
    )  # fmt: skip
    run(plan)
    write_page(plan.report)
    return plan.report


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("needs Chromium")
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


class Watched:
    """A page that keeps what it must not do."""

    def __init__(self, browser: Any, path: Path, width: int = 1280) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 800})
        self.wrong: list[str] = []
        self.page.on("console", lambda m: m.type == "error" and self.wrong.append(m.text))  # type: ignore[func-returns-value]
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: self.wrong.append(dialog.message))
        self.page.on("request", self._request)
        self.page.goto(path.as_uri())

    def wait(self, condition: str) -> None:
        """Until `condition` holds; playwright's own way needs eval, which the page forbids."""
        self.page.evaluate(f"""async () => {{
            for (let i = 0; i < 500 && !({condition}); i++)
                await new Promise((resolve) => setTimeout(resolve, 20));
            if (!({condition})) throw new Error("it did not come to that");
        }}""")

    def _request(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.wrong.append(request.url)


@pytest.mark.slow
def test_players_switch_at_the_same_instant(report: Path, browser: Any) -> None:
    watched = Watched(browser, report / "index.html")
    page = watched.page
    assert page.locator("#players .clip").count() == 3
    assert HOSTILE in page.locator("#players h3").all_inner_texts()[0]
    first = page.locator("#players .clip").first
    first.focus()
    page.keyboard.press(" ")
    watched.wait("document.querySelector('.clip').ensemble.position > 0.2")
    state = """(choose) => {
        const e = document.querySelector('.clip').ensemble;
        const voices = e.voices, place = (e) => e.offset - e.started, before = place(e);
        if (choose !== null) document.querySelectorAll('.clip')[0]
            .querySelectorAll('[role=radio]')[choose].click();
        return { moved: place(e) !== before, same: voices === e.voices, heard: e.heard,
                 gains: [0, 1, 2].map((i) => e.gainOf(i)), playing: Boolean(e.voices) };
    }"""
    found = page.evaluate(state, 2)
    # The voices go on; only what is heard of them changes, and no time passes.
    assert found["playing"]
    assert found["same"]
    assert found["heard"] == 2
    assert found["gains"] == [0, 0, 1]
    assert not found["moved"]  # against the audio clock
    page.keyboard.press("o")
    assert page.evaluate(state, None)["heard"] == 0
    page.keyboard.press("1")
    assert page.evaluate(state, None)["heard"] == 1
    assert first.locator("[aria-checked=true]").inner_text().startswith("mp3@24")
    # Space is for playing even where it would press what has the focus.
    first.locator("[role=radio]").nth(2).click()
    page.keyboard.press(" ")
    assert not page.evaluate(state, None)["playing"]
    assert page.evaluate(state, None)["heard"] == 2
    # Playing another stops this one; and it ends by itself.
    page.locator("#players .clip .play").nth(1).click()
    watched.wait("document.querySelectorAll('.clip')[1].ensemble.voices")
    watched.wait("!document.querySelectorAll('.clip')[1].ensemble.voices")
    assert watched.wrong == []


@pytest.mark.slow
def test_what_was_asked_for_last_plays(report: Path, browser: Any) -> None:
    watched = Watched(browser, report / "index.html")
    # While the first decodes, the second is asked for; the third is paused again.
    playing = watched.page.evaluate("""async () => {
        const [a, b, c] = [...document.querySelectorAll('.clip')].map((clip) => clip.ensemble);
        const all = [a.play(), c.play(), c.pause(), b.play()];
        await Promise.all(all);
        return [a, b, c].map((ensemble) => Boolean(ensemble.voices));
    }""")
    assert playing == [False, True, False]
    assert watched.wrong == []


@pytest.mark.slow
def test_versions_loop_in_step(report: Path, browser: Any) -> None:
    watched = Watched(browser, report / "index.html")
    ends = watched.page.evaluate("""async () => {
        const { ensemble } = document.querySelector('.clip');
        ensemble.loop = true;
        await ensemble.play();
        return ensemble.voices.map(({ source }) => [source.loop, source.loopEnd]);
    }""")
    assert len(ends) == 5
    assert len({tuple(end) for end in ends}) == 1
    assert ends[0][0]
    assert watched.wrong == []


@pytest.mark.slow
def test_no_version_clips_when_loudness_is_matched(report: Path) -> None:
    text = (report / "index.html").read_text(encoding="utf-8")
    held = text.partition('id="data">')[2].partition("</script>")[0]
    for clip in json.loads(held)["clips"]:
        for item in clip["conditions"]:
            data = base64.b64decode(item["audio"].partition(",")[2])
            audio = soundfile.read(io.BytesIO(data))[0]
            assert 0 < item["gain"] * np.abs(audio).max() <= 1 + 1e-6


@pytest.mark.slow
def test_the_table_sorts_and_kinds_change(report: Path, browser: Any) -> None:
    watched = Watched(browser, report / "index.html", width=375)
    page = watched.page
    table = page.locator(".of-kind:not([hidden]) table.sortable").first

    def column(number: int) -> list[float]:
        cells = table.locator(f"tbody td:nth-child({number})")
        return [float(cell.get_attribute("data-value")) for cell in cells.all()]

    assert column(2) == sorted(column(2))
    head = table.locator("th button", has_text="SI-SDR")
    head.click()
    assert column(5) == sorted(column(5))
    head.click()
    assert column(5) == sorted(column(5), reverse=True)
    assert table.locator("th[aria-sort=descending]").inner_text().startswith("SI-SDR")
    page.get_by_role("button", name="Music").click()
    shown = page.locator(".of-kind:not([hidden])")
    assert {item.get_attribute("data-kind") for item in shown.all()} == {"music"}
    # A phone scrolls the table, not the page.
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    page.locator("#theme").click()
    assert page.evaluate("document.documentElement.dataset.theme") in ("dark", "light")
    assert watched.wrong == []


@pytest.mark.slow
def test_blind_listening_is_recorded(report: Path, browser: Any, tmp_path: Path) -> None:
    watched = Watched(browser, report / "index.html")
    page = watched.page
    last = page.locator("#abx select").nth(2).locator("option").last.inner_text()
    page.locator("#abx .begin").click()
    for number in range(10):
        assert page.locator("#abx .said").inner_text() == f"Round {number + 1} of 10"
        page.locator("#abx [role=radio]").nth(2).click()
        page.locator("#abx .answer-a").click()
    assert "of 10 right" in page.locator("#abx .said").inner_text()
    with page.expect_download() as download:
        page.locator("#abx .save").click()
    download.value.save_as(tmp_path / "abx.json")
    with page.expect_download() as download:
        page.locator("#abx .save").click()
    download.value.save_as(tmp_path / "again.json")

    page.locator("#mushra .begin").click()
    for _ in range(3):
        assert page.locator("#mushra .next").is_disabled()
        for slider in page.locator("#mushra .slider input").all():
            slider.focus()
            page.keyboard.press("ArrowRight")
        page.locator("#mushra .next").click()
    with page.expect_download() as download:
        page.locator("#mushra .save").click()
    download.value.save_as(tmp_path / "mushra.json")
    assert watched.wrong == []

    merged = merge([tmp_path / f"{name}.json" for name in ("abx", "mushra", "again")])
    told = merged.told[0]
    assert ({told.a, told.b}, told.total) == ({"original", last}, 10)
    assert len(merged.ratings) == 5
    assert {rating.ratings for rating in merged.ratings} == {3}
    assert {rating.mean.mean for rating in merged.ratings} == {51.0}
    assert "original" in markdown(merged)


@pytest.mark.slow
def test_a_file_has_a_page(browser: Any, tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("codec.coders._entropy", reason="needs the engine and the entropy coders")
    from codec.benchmark.file_report import write_file_report

    model = codec.load()
    audio = np.stack([noise(5 * RATE, 3), noise(5 * RATE, 4)])
    source = tmp_path / "<b>x.nac"
    source.write_bytes(model.compress(audio, RATE, bitrate=1500))
    watched = Watched(browser, write_file_report(source, tmp_path / "x.html", seconds=3))
    page = watched.page
    assert page.locator("h1").inner_text() == "<b>x.nac"
    assert page.locator("tbody tr").count() == 6
    watched.wait("document.querySelector('audio').duration > 0")
    assert page.evaluate("document.querySelector('audio').duration") == pytest.approx(3, abs=0.05)
    sizes = page.evaluate("[...document.images].map((i) => [i.naturalWidth, i.naturalHeight])")
    assert all(width and height for width, height in sizes)
    assert sizes[1][1] == 6 * 6  # six levels of six pixels
    box = page.locator(".timeline").first.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 5)
    watched.wait("document.querySelector('.head').style.left !== ''")
    assert page.evaluate("document.querySelector('audio').currentTime") == pytest.approx(
        1.5, abs=0.05
    )
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.querySelector('audio').currentTime") == pytest.approx(
        0.5, abs=0.05
    )
    page.keyboard.press(" ")
    watched.wait("!document.querySelector('audio').paused")
    assert watched.wrong == []
    damaged = source.read_bytes()[:-9]
    source.write_bytes(damaged)
    with pytest.raises(FormatError):
        write_file_report(source, tmp_path / "y.html")
    assert not (tmp_path / "y.html").exists()


def test_the_command_makes_a_page_without_torch(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    pytest.importorskip("codec.coders._entropy", reason="needs the engine and the entropy coders")
    source, target = tmp_path / "x.nac", tmp_path / "x.html"
    source.write_bytes(codec.load().compress(noise(RATE, 5), RATE, bitrate=1500))
    script = (
        "import sys\nfrom codec.cli.main import cli\n"
        "cli.main(['report', *sys.argv[1:]], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules"
    )
    python(script, source, "-o", target)
    assert target.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_damaged_file_is_one_line(cli: Any, tmp_path: Path) -> None:
    source = tmp_path / "damaged.nac"
    source.write_bytes(b"not one at all")
    code, out, err = cli("report", source)
    assert (code, out, err.count("\n")) == (1, b"", 1)
    assert err.startswith(f"codec: {source}: ")
    assert list(tmp_path.iterdir()) == [source]


@given(st.recursive(st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=9))
def test_json_in_a_script_is_itself_and_no_markup(value: Any) -> None:
    text = as_json(value)
    assert json.loads(text) == value
    assert not set("<>&\u2028\u2029") & set(text)


def test_clips_are_chosen_from_all_kinds() -> None:
    rows = [{"clip": f"{kind}{n}", "kind": kind} for kind in "ab" for n in range(4) for _ in "xy"]
    assert choose_clips(rows, 3) == ["a0", "a1", "b0"]
    assert choose_clips(rows, 0) == []
    assert len(choose_clips(rows, 99)) == 8


def test_loudness_is_matched_where_the_original_is_active() -> None:
    original = noise(RATE, 0)
    original[RATE // 2 :] *= 1e-4
    louder = 2 * original
    louder[RATE // 2 :] = noise(RATE // 2, 1)  # of no account: the original is silent there
    assert loudness_gain(original, louder) == pytest.approx(0.5, rel=1e-6)
    assert loudness_gain(original, original) == 1
    assert loudness_gain(original, original * 0) == 1
    assert loudness_gain(original, original / 1000) == pytest.approx(10**0.6)


@pytest.mark.parametrize(("correct", "chance"), [(10, 2**-10), (9, 11 / 1024), (0, 1.0)])
def test_guessing(correct: int, chance: float) -> None:
    assert guessing(correct, 10) == pytest.approx(chance)


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"format": "other"}', '{"format": "codec-listening", "version": 2}',
     '{"format": "codec-listening", "version": 1, "kind": "abx", "listener": "x", "trials": [1]}',
     '{"format": "codec-listening", "version": 1, "kind": "mushra", "listener": "x",'
     ' "trials": [{"ratings": [{"condition": "a", "rating": 101}]}]}'],
)  # fmt: skip
def test_other_files_are_no_results(content: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"r\.json: ") as error:
        merge([path])
    assert "\n" not in str(error.value)


def test_a_folder_that_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        write_page(tmp_path)
