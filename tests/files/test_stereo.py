"""Files of a model that codes two channels together, at 48 kHz: every door, in both directions."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import codec
from bench.random_weights import SMALL, STEREO, signal, write_weights
from codec.cli.models import _facts, _text
from codec.errors import FormatError, ModelError, TokensError
from codec.model.catalogue import Release
from codec.nac.layout import HEADER_BYTES, Header, sealed
from codec.nac.reader import Reader
from tests.helpers.cli import Cli

pytest.importorskip("codec.engine._engine", reason="needs the native engine")

RATE = STEREO.sample_rate


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("stereo") / "pair.safetensors", STEREO)


@pytest.fixture(scope="module")
def model(path: Path) -> codec.Codec:
    return codec.load(path)


def channels(count: int, samples: int = 70_001) -> np.ndarray:
    """float32 [count, samples], within ±1, each channel another."""
    pairs = [signal(STEREO, samples, seed=10 * i) for i in range(-(-count // 2))]
    audio = np.concatenate(pairs)[:count]
    return (0.9 * audio / np.abs(audio).max()).astype(np.float32)


def wav(path: Path, audio: np.ndarray, rate: int = RATE) -> Path:
    soundfile.write(path, audio.T, rate, subtype="PCM_16")
    return path


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_streams_are_pairs_of_channels(model: codec.Codec, count: int) -> None:
    audio = channels(count)
    tokens = model.encode(audio, RATE)
    streams = -(-count // 2)
    assert tokens.codes.shape == (streams, 3, STEREO.n_frames(70_001))
    assert (tokens.channels, tokens.streams, tokens.together) == (count, streams, 2)
    assert tokens.bitrate == streams * 3 * STEREO.bitrate_per_codebook
    for i in range(streams):
        alone = model.encode(audio[2 * i : 2 * i + 2], RATE)
        np.testing.assert_array_equal(tokens.codes[i], alone.codes[0])
        decoded = model.decode(tokens)[2 * i : 2 * i + 2]
        np.testing.assert_array_equal(decoded, model.decode(alone))
    assert model.decode(tokens, threads=3).shape == audio.shape
    back = model.decompress(model.compress(audio, RATE))[0]
    np.testing.assert_array_equal(back, model.decode(tokens))


def test_a_mono_recording_is_a_pair_of_equal_channels(model: codec.Codec) -> None:
    audio = channels(1)
    mono, both = model.encode(audio[0], RATE), model.encode(np.repeat(audio, 2, axis=0), RATE)
    np.testing.assert_array_equal(mono.codes, both.codes)
    assert mono != both
    decoded, pair = model.decode(mono), model.decode(both)
    assert decoded.shape == (1, 70_001)
    np.testing.assert_array_equal(decoded[0], (pair[0] + pair[1]) * np.float32(0.5))


def test_tokens_keep_what_they_are(model: codec.Codec, tmp_path: Path) -> None:
    for count in (1, 2, 3):
        tokens = model.encode(channels(count), RATE)
        tokens.save(tmp_path / "t.nac")
        assert codec.Tokens.load(tmp_path / "t.nac") == tokens
        saved = (tmp_path / "t.nac").read_bytes()
        assert saved == model.compress(channels(count), RATE, effort="raw")
        made = model.tokens(tokens.codes, n_samples=70_001, lone=tokens.lone)
        assert made == tokens
        np.testing.assert_array_equal(model.decode(tokens.first(2)), model.decode(made.first(2)))
    tokens = model.encode(channels(1), RATE)
    for change, reason in (
        ({"together": 3}, "1 or 2 channels"),
        ({"together": 1}, "1 or 2 channels"),  # the stream is a lone one
        ({"lone": 2}, "lone must be True or False"),
    ):
        with pytest.raises(TokensError, match=reason):
            dataclasses.replace(tokens, **change)


def test_a_header_has_one_bit_more(model: codec.Codec) -> None:
    data = model.compress(channels(3), RATE)
    header = Reader(io.BytesIO(data)).header
    assert (header.channels, header.streams, header.together) == (3, 2, 2)
    assert data[10] == 2
    assert Header.unpack(data[:HEADER_BYTES]) == header
    varied = Reader(io.BytesIO(model.compress(channels(2), RATE, quality=5))).header
    assert varied.pack()[10] == 3
    with pytest.raises(FormatError, match="one form"):
        Header.unpack(sealed(data[:10] + b"\4" + data[11 : HEADER_BYTES - 4]))
    with pytest.raises(FormatError, match="channels together"):
        dataclasses.replace(header, together=3)
    # The same file without the bit: two streams would be one for each of three channels.
    other = sealed(data[:10] + b"\0" + data[11 : HEADER_BYTES - 4])
    with pytest.raises(codec.CodecError):
        model.decompress(other + data[HEADER_BYTES:])
    with pytest.raises(ModelError, match="other dimensions"):
        model.pipeline.maker(dataclasses.replace(header, together=1))


def test_a_model_of_one_channel_writes_what_it_did(tmp_path: Path) -> None:
    mono = codec.load(write_weights(tmp_path / "m.safetensors", SMALL))
    data = mono.compress(channels(2), RATE)
    assert data[10] == 0
    tokens = mono.encode(channels(2), RATE)
    assert (tokens.together, tokens.lone, tokens.streams, tokens.channels) == (1, False, 2, 2)


@pytest.mark.parametrize("rate", [RATE, 44_100])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_files(
    cli_of_weights: Cli, model: codec.Codec, path: Path, tmp_path: Path, count: int, rate: int
) -> None:
    source = wav(tmp_path / "a.wav", channels(count), rate)
    audio, _ = soundfile.read(source, dtype="float32", always_2d=True)
    nac, back = tmp_path / "a.nac", tmp_path / "b.wav"
    assert cli_of_weights("compress", "-q", "--model", path, source, "-o", nac)[0] == 0
    assert nac.read_bytes()[HEADER_BYTES:] == model.compress(audio.T, rate)[HEADER_BYTES:]
    assert cli_of_weights("decompress", "-q", "--model", path, nac, "-o", back)[0] == 0
    restored, found = soundfile.read(back, dtype="int16", always_2d=True)
    expected, _ = model.decompress(nac.read_bytes())
    assert found == rate
    assert restored.shape == audio.shape
    scaled = np.clip(np.rint(expected * 32768), -32768, 32767).astype(np.int16)
    np.testing.assert_array_equal(restored.T, scaled)
    # From pipe to pipe, while it arrives.
    code, piped, _ = cli_of_weights("compress", "--model", path, "-", stdin=source.read_bytes())
    assert code == 0
    code, played, _ = cli_of_weights("decompress", "--model", path, "-", stdin=piped)
    assert code == 0
    streamed, _ = soundfile.read(io.BytesIO(played), dtype="int16", always_2d=True)
    np.testing.assert_array_equal(streamed, restored)


def test_a_stretch_is_cut_out_of_the_whole(model: codec.Codec) -> None:
    data = model.compress(channels(3, 400_000), RATE)
    whole, _ = model.decompress(data)
    part, _ = model.decompress(data, start=3.0, duration=2.5)
    np.testing.assert_array_equal(part, whole[:, 3 * RATE : 3 * RATE + 120_000])


def test_a_damaged_chunk_is_silence(cli_of_weights: Cli, path: Path, tmp_path: Path) -> None:
    model = codec.load(path)
    data = bytearray(model.compress(channels(3, 400_000), RATE))
    data[data.index(b"\x9eCK\xf6", 200) + 30] ^= 1
    damaged = tmp_path / "d.nac"
    damaged.write_bytes(data)
    back = tmp_path / "d.wav"
    args = ("--salvage", "-q", "--model", path, damaged, "-o", back)
    cli_of_weights("decompress", *args)
    restored, _ = soundfile.read(back, always_2d=True)
    assert restored.shape == (400_000, 3)
    assert not restored[2 * RATE + 1000 : 4 * RATE - 1000].any()
    assert (np.abs(restored[:RATE]).max(axis=0) > 0).all()


def test_trim_and_quality(model: codec.Codec, path: Path, tmp_path: Path) -> None:
    audio = channels(2, 200_000)
    (tmp_path / "a.nac").write_bytes(model.compress(audio, RATE, effort="raw"))
    codec.trim_file(tmp_path / "a.nac", tmp_path / "b.nac", 2, model=path)
    assert (tmp_path / "b.nac").read_bytes() == model.compress(
        audio, RATE, n_codebooks=2, effort="raw"
    )
    sizes = [len(model.compress(audio, RATE, quality=quality)) for quality in (0, 10)]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_recording_is_what_compress_writes(
    model: codec.Codec, tmp_path: Path, count: int
) -> None:
    audio = channels(count)
    with codec.Recorder(tmp_path / "r.nac", model, channels=count) as recorder:
        for block in np.split(audio, [1, 5000, 60_000], axis=1):
            recorder.write(block)
    assert (tmp_path / "r.nac").read_bytes() == model.compress(audio, RATE, effort="raw")


def test_streams_in_python(model: codec.Codec) -> None:
    audio = channels(2)
    encoder, decoder = model.stream_encoder(), model.stream_decoder()
    codes = np.concatenate([encoder.push(audio), encoder.flush()], axis=1)
    np.testing.assert_array_equal(codes, model.encode(audio, RATE).codes[0])
    played = np.concatenate([decoder.push(codes), decoder.flush()], axis=1)
    np.testing.assert_array_equal(played[:, :70_001], model.decode(model.encode(audio, RATE)))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_refined_codes(
    cli_of_weights: Cli, model: codec.Codec, path: Path, tmp_path: Path, count: int
) -> None:
    """By every door, with any threads and chunks."""
    source = wav(tmp_path / "a.wav", channels(count, 240_001))
    audio, search = soundfile.read(source, dtype="float32", always_2d=True)[0].T, {"refine": 2}
    tokens = model.encode(audio, RATE, **search, threads=3)
    assert tokens.codes.shape == model.encode(audio, RATE).codes.shape
    assert tokens != model.encode(audio, RATE)
    assert tokens == model.encode(audio, RATE, **search)
    assert model.encode_batch([audio], RATE, **search) == [tokens]
    args = ("-q", source, "-o", tmp_path / "a.nac", "--refine", 2, "--effort", "raw")
    assert cli_of_weights("compress", *args, "--model", path)[0] == 0
    file = (tmp_path / "a.nac").read_bytes()
    assert file == model.compress(audio, RATE, **search, effort="raw")
    with codec.Recorder(tmp_path / "r.nac", model, channels=count, **search) as recorder:
        for block in np.split(audio, [1, 5000, 230_000], axis=1):
            recorder.write(block)
    assert (tmp_path / "r.nac").read_bytes() == file


def test_latents(model: codec.Codec) -> None:
    audio = channels(4)
    latents = model.encode_latents(audio, RATE, normalized=False)
    assert latents.shape == (2, STEREO.latent_dim, STEREO.n_frames(70_001))
    decoded = model.decode_latents(latents, normalized=False, n_samples=70_001, threads=2)
    assert decoded.shape == audio.shape
    encoder = model.stream_encoder(latents=True, normalized=False)
    streamed = np.concatenate([encoder.push(audio[:2]), encoder.flush()], axis=1)
    np.testing.assert_array_equal(streamed, latents[0])
    decoder = model.stream_decoder(latents=True, normalized=False)
    played = np.concatenate([decoder.push(streamed), decoder.flush()], axis=1)
    np.testing.assert_array_equal(played[:, :70_001], decoded[:2])


def test_what_info_and_models_say(
    cli_of_weights: Cli, model: codec.Codec, path: Path, tmp_path: Path
) -> None:
    file = tmp_path / "a.nac"
    file.write_bytes(model.compress(channels(3), RATE))
    code, out, _ = cli_of_weights("info", file)
    assert code == 0
    assert b"3 channels, coded in pairs of two" in out
    assert b"kbit/s for two channels" in out
    code, out, _ = cli_of_weights("info", "--json", file)
    said = json.loads(out)
    assert (said["channels"], said["channels_together"]) == (3, 2)
    tokens = model.encode(channels(3), RATE)
    assert said["channel_bitrate"] == pytest.approx(tokens.bitrate / 2)
    release = Release("pair", model.model_id, path, "CC0-1.0", "0.3.0", default=False)
    assert "48000 Hz, two channels together, as mid and side" in _text(release)
    assert "kbit/s for two channels" in _text(release)
    assert _facts(release)["channels_together"] == 2


def test_a_corpus_has_a_row_of_pairs(cli_of_weights: Cli, path: Path, tmp_path: Path) -> None:
    model = codec.load(path)
    (tmp_path / "in").mkdir()
    wav(tmp_path / "in" / "a.wav", channels(3))
    out = tmp_path / "out"
    args = ("tokenize", tmp_path / "in", "-o", out, "--model", path, "--format", "bin", "-q")
    code, _, err = cli_of_weights(*args)
    assert code == 0, err
    card = json.loads((out / "dataset.json").read_text())
    assert card["channels_together"] == 2
    from codec.corpus.token_rows import TokenRows

    (row,) = TokenRows(out)
    audio, _ = soundfile.read(tmp_path / "in" / "a.wav", dtype="float32", always_2d=True)
    np.testing.assert_array_equal(row["codes"], model.encode(audio.T, RATE).codes)
