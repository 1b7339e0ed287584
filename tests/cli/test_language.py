"""`codec train-lm`, `continue` and `compose`, with a model that has learned next to nothing."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("codec.engine._engine", reason="needs the native engine")

import torch

import codec
import codec.lm
from codec.cli.main import cli
from codec.cli.sound import chosen_post, read_mono
from codec.errors import (
    BackendError,
    CodecWarning,
    MissingPackageError,
    ModelError,
    OptionError,
    OutputError,
    TrainingError,
)
from codec.lm.model.config import preset
from codec.lm.model.files import write_network
from codec.lm.model.network import Network
from codec.model.config import ModelConfig
from tests.helpers.mean_backend import MeanBackend
from tests.helpers.processes import python

CLIP = Path(__file__).parents[1] / "clips" / "speech.flac"


def call(*arguments: object) -> bytes:
    result = CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout_bytes


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lm") / "lm.safetensors"
    torch.manual_seed(0)
    config = preset(
        "tiny", codec=codec.load().model_id.hex(), levels=2, tags=("music", "piano", "speech")
    )
    write_network(Network(config), path, kinds=[("music", "piano"), ("speech",)])
    return path


@pytest.fixture(scope="module")
def prompt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    audio, rate = soundfile.read(CLIP)
    path = tmp_path_factory.mktemp("prompt") / "prompt.wav"
    soundfile.write(path, audio[:rate], rate)
    return path


def test_a_prompt_goes_on(weights: Path, prompt: Path, tmp_path: Path) -> None:
    whole, rest = tmp_path / "whole.wav", tmp_path / "rest.wav"
    options = (prompt, "--seconds", 0.4, "--weights", weights, "--threads", 1)
    call("continue", *options, "-o", whole)
    call("continue", *options, "-o", rest, "--skip-prompt")
    audio, rate = soundfile.read(whole)
    assert rate == codec.load().config.sample_rate
    assert len(audio) == round(1.4 * rate)
    assert np.array_equal(audio[-round(0.4 * rate) :], soundfile.read(rest)[0])
    streamed, _ = soundfile.read(io.BytesIO(call("continue", *options, "-o", "-")))
    assert np.array_equal(streamed, audio)


def test_what_goes_on_is_enhanced_by_default(weights: Path, prompt: Path) -> None:
    options = (prompt, "--seconds", 0.2, "--weights", weights, "--adapt", 0, "-o", "-")
    usual, filtered, enhanced, plain = (
        call("continue", *options, *words)
        for words in ((), ("--postfilter",), ("--enhance",), ("--no-postfilter", "--no-enhance"))
    )
    assert usual == enhanced
    assert len({filtered, enhanced, plain}) == 3
    assert len(filtered) == len(enhanced) == len(plain)
    for option, audio in (("--postfilter", filtered), ("--enhance", enhanced)):
        rest = call("continue", *options, option, "--skip-prompt")
        assert audio.endswith(rest[44:])


def test_only_models_that_it_is_for_are_filtered() -> None:
    other = codec.load(backend=MeanBackend(ModelConfig(sample_rate=48_000)))
    assert chosen_post(other, postfilter=False, enhance=False) is None
    assert chosen_post(other, postfilter=False, enhance=None) is None
    assert chosen_post(codec.load(), postfilter=False, enhance=None) == "enhancer"
    assert chosen_post(codec.load(), postfilter=True, enhance=None) == "postfilter"
    assert chosen_post(codec.load(), postfilter=True, enhance=False) == "postfilter"
    assert chosen_post(codec.load(), postfilter=False, enhance=True) == "enhancer"
    with pytest.raises(BackendError, match="is for models of 24000 Hz, not 48000 Hz"):
        chosen_post(other, postfilter=True, enhance=False)
    with pytest.raises(ModelError, match="has no enhancer"):
        chosen_post(other, postfilter=False, enhance=True)
    with pytest.raises(click.UsageError, match="not both"):
        chosen_post(codec.load(), postfilter=True, enhance=True)


def test_a_prompt_is_never_overwritten(weights: Path, prompt: Path, tmp_path: Path) -> None:
    own = tmp_path / "prompt.wav"
    shutil.copy(prompt, own)
    for command in (["continue", own], ["speak", "Hello.", "--voice", own]):
        with pytest.raises(OutputError, match="overwrite the input"):
            call(*command, "-o", own, "-f")
    assert own.read_bytes() == prompt.read_bytes()


def test_channels_that_cancel_do_not_become_silence(prompt: Path, tmp_path: Path) -> None:
    left, rate = soundfile.read(prompt, dtype="float32")
    stereo = tmp_path / "stereo.wav"
    soundfile.write(stereo, np.stack([left, -left], 1), rate, subtype="FLOAT")
    with pytest.warns(CodecWarning, match="only channel 1 is used"):
        mono, _ = read_mono(stereo)
    assert np.array_equal(mono, left)
    soundfile.write(stereo, np.stack([left, 0 * left], 1), rate, subtype="FLOAT")
    assert np.array_equal(read_mono(stereo)[0], left / 2)
    soundfile.write(stereo, np.zeros((rate, 2)), rate)
    assert not read_mono(stereo)[0].any()


def test_words_become_audio_or_a_clear_error(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "piano.flac"
    options = ("--seconds", 0.4, "--weights", weights, "-o", out)
    call("compose", "calm piano", *options)
    assert soundfile.info(out).frames == round(0.4 * 24_000)
    with pytest.raises(OutputError):
        call("compose", "piano", *options)
    with pytest.raises(OptionError, match="music, piano, speech"):
        call("compose", "tuba", *options, "-f")


@pytest.mark.parametrize(
    "wrong",
    ["--seconds nan", "--seconds 0", "--guidance nan", "--temperature -1", "--top-p 2",
     "--top-k 0", "--adapt -1", "--threads 0", "--seed 9223372036854775808"],
)  # fmt: skip
def test_numbers_that_cannot_be_meant_are_wrong_usage(
    weights: Path, prompt: Path, tmp_path: Path, wrong: str
) -> None:
    arguments = [str(prompt), "--weights", str(weights), "-o", str(tmp_path / "o.wav")]
    result = CliRunner().invoke(cli, ["continue", *arguments, *wrong.split()])
    assert result.exit_code == 2
    assert wrong.split()[0] in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_model_of_another_codec_is_refused(prompt: Path, tmp_path: Path) -> None:
    path = tmp_path / "lm.safetensors"
    write_network(Network(preset("tiny", codec="00" * 8)), path)
    with pytest.raises(ModelError, match="0000000000000000"):
        call("continue", prompt, "-o", tmp_path / "x.wav", "--weights", path)


def test_tokens_train_a_model_that_goes_on(prompt: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    for name in ("a", "b"):
        shutil.copy(CLIP, tmp_path / f"{name}.flac")
    lines = ["path\tspeaker\ttags\tsplit", "a.flac\tann\tspeech\ttrain"]
    lines.append("b.flac\tben\tspeech\tvalidation")
    manifest, tokens, out = tmp_path / "m.tsv", tmp_path / "tokens", tmp_path / "lm.safetensors"
    manifest.write_text("\n".join(lines) + "\n")
    call("tokenize", manifest, "-o", tokens, "-n", 2, "-q")
    options = ("--preset", "tiny", "--levels", 2, "--batch", 1, "--threads", 1, "--run",
               tmp_path / "run", "-o", out)  # fmt: skip
    call("train-lm", tokens, *options, "--steps", 2)
    call("train-lm", tokens, *options, "--steps", 3, "-f")
    lm = codec.lm.load(out)
    assert lm.config.tags == ("speech",)
    assert lm.kinds == (("speech",),)
    assert json.loads(lm.config.to_json())["levels"] == 2
    call("continue", prompt, "-o", tmp_path / "x.wav", "--weights", out, "--seconds", 0.2)

    # Several folders, and weights to begin with. A rate of nearly 0 keeps those.
    kept, run = tmp_path / "kept.safetensors", ("--run", tmp_path / "other", "--lr", 1e-12)
    other = ("--preset", "tiny", "--batch", 1, "--threads", 1, *run, "-o", kept, "--steps", 1)
    call("train-lm", tokens, tokens, *other, "-n", 2, "--init", out)
    twice = codec.lm.load(kept).network.state_dict()
    for name, tensor in codec.lm.load(out).network.state_dict().items():
        torch.testing.assert_close(twice[name], tensor, rtol=1e-3, atol=1e-6)
    shutil.rmtree(tmp_path / "other")
    with pytest.raises(ModelError, match="to begin with are of another model"):
        call("train-lm", tokens, *other, "-f", "-n", 1, "--init", out)


def test_tokens_of_other_codecs_do_not_train_together(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    shutil.copy(CLIP, tmp_path / "a.flac")
    one, other = tmp_path / "one", tmp_path / "other"
    call("tokenize", tmp_path / "a.flac", "-o", one, "-n", 1, "-q")
    shutil.copytree(one, other)
    card = json.loads((other / "dataset.json").read_text())
    (other / "dataset.json").write_text(json.dumps({**card, "model": "00" * 8}))
    with pytest.raises(TrainingError, match="tokens of different models"):
        call("train-lm", one, other, "-o", tmp_path / "x.safetensors")


def test_without_pytorch_the_error_says_what_to_install(
    prompt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "codec.lm.model.language_model", None)
    for command in ("continue", "compose", "speak", "train-lm", "train-speech"):
        with pytest.raises(MissingPackageError, match="pip install"):
            call(command, prompt, "-o", tmp_path / "x.wav")


def test_the_language_model_waits_for_pytorch_until_it_is_asked_for() -> None:
    code = "import sys, codec.lm; assert 'torch' not in sys.modules"
    python(code)
