"""The coders of a chunk: exact, the same on every instruction set, equal to their definitions."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("codec.coders._entropy", reason="the native extension was not built")

from bench.random_weights import SMALL, write_weights
from codec.coders import _entropy as native
from codec.coders import data as entropy_data
from codec.coders import entropy
from codec.coders.data import CONTEXTS, SUFFIX, EntropyData
from codec.coders.entropy import PriorCoder, TablesCoder
from codec.coders.find import load_coder
from codec.errors import BackendError, FormatError, ModelError, TokensError
from codec.model.location import DEFAULT_WEIGHTS
from codec.model.weights_file import WeightsFile
from codec.nac import Header, Reader, SeekableReader, Writer
from tests.helpers.entropy_models import (
    LEVELS,
    MODEL_ID,
    WORDS,
    random_codes,
    small_codebooks,
    small_data,
    small_prior,
    small_tables,
)


def coders(isa: str | None = None) -> list[entropy.TablesCoder | entropy.PriorCoder]:
    return [TablesCoder(small_data(), isa), PriorCoder(small_data(), small_codebooks(), isa)]


@pytest.fixture(params=[0, 1], ids=["tables", "prior"])
def coder(request: pytest.FixtureRequest) -> entropy.TablesCoder | entropy.PriorCoder:
    return coders()[request.param]


SHAPES = st.tuples(st.integers(1, 9), st.integers(1, LEVELS), st.integers(1, 20))


@given(SHAPES, st.integers(0, 99), st.sampled_from(native.isas()), st.sampled_from(native.isas()))
@settings(max_examples=40)
def test_what_one_instruction_set_encodes_another_decodes(shape, seed, one, other):
    codes = random_codes(*shape, seed=seed)
    for there, back in zip(coders(one), coders(other), strict=True):
        payload = there.encode(codes)
        assert np.array_equal(back.decode(payload, *shape), codes)
        assert back.encode(codes) == payload


def test_fewer_levels_and_more_channels(coder):
    codes = random_codes(2, LEVELS, 7)
    for levels in range(1, LEVELS + 1):
        part = codes[:, :levels]
        assert np.array_equal(coder.decode(coder.encode(part), *part.shape), part)


def test_channels_do_not_see_each_other(coder):
    codes = random_codes(3, LEVELS, 10)
    _, together, _ = coder.costs(codes)
    for channel in range(3):
        _, alone, _ = coder.costs(codes[channel : channel + 1])
        assert np.array_equal(together[channel], alone[0])


def test_the_future_is_not_seen(coder):
    codes = random_codes(1, LEVELS, 10)
    other = codes.copy()
    other[0, 2, 6:] = (other[0, 2, 6:] + 1) % WORDS
    _, here, _ = coder.costs(codes)
    _, there, _ = coder.costs(other)
    assert np.array_equal(here[..., :6], there[..., :6])
    assert np.array_equal(here[0, :2, 6], there[0, :2, 6])
    assert not np.array_equal(here[0, 3:, 6], there[0, 3:, 6])


@given(st.binary(max_size=60), st.integers(0, 1))
def test_any_payload_is_decoded_or_refused(payload: bytes, which: int):
    coder = coders()[which]
    try:
        codes = coder.decode(payload, 2, 3, 4)
    except FormatError:
        return
    assert coder.encode(codes) == payload


def test_a_payload_has_one_form(coder):
    codes = random_codes(1, LEVELS, 10)
    payload = coder.encode(codes)
    for n in (1, 2, 5):
        with pytest.raises(FormatError):
            coder.decode(payload + bytes(n), *codes.shape)


def test_costs_add_up_to_the_payload(coder):
    codes = random_codes(1, LEVELS, 40)
    payload, _, bits = coder.costs(codes)
    assert payload == coder.encode(codes)
    assert bits.sum() - 8 <= 8 * len(payload) <= bits.sum() * 1.001 + 16


def test_tables_are_their_definition():
    tables = small_tables()
    codes = random_codes(1, LEVELS, 6)
    _, bits, _ = TablesCoder(small_data()).costs(codes)
    for q in range(LEVELS):
        for t in range(6):
            known = np.zeros(tables.embed.shape[3], np.int64)
            for number, context in enumerate(CONTEXTS):
                level = context.level(q)
                if level is not None and t >= context.back:
                    known += tables.embed[q, number, codes[0, level, t - context.back]]
            score = (tables.bias[q] + known @ tables.out[q].astype(np.int64)) / (
                2.0 ** tables.fraction_bits[q]
            )
            expected = np.log2(np.exp2(score).sum()) - score[codes[0, q, t]]
            # 2^-f is approximated within 2e-4; a weight w = 2^-bits of a sum of at least 2^19 is
            # rounded down by less than 1
            assert bits[0, q, t] == pytest.approx(expected, abs=6e-4 + 2.0 ** (expected - 18))


def test_the_prior_agrees_with_torch():
    torch = pytest.importorskip("torch")
    from codec.training.entropy.prior import PriorNetwork, bits

    torch.manual_seed(0)
    network = PriorNetwork(torch.from_numpy(small_codebooks()), small_tables(), 16, 32)
    # stored weights, so that both have the same
    data = dataclasses.replace(small_data(), prior=entropy_data.stored(network.weights()))
    assert data.prior is not None
    network.load_weights(data.prior)
    codes = random_codes(1, LEVELS, 50)
    _, here, _ = PriorCoder(data, small_codebooks()).costs(codes)
    _, there = bits(network, torch.from_numpy(codes.transpose(1, 0, 2).astype(np.int64)))
    # a weight w = 2^-bits of a sum of at least 2^19 is rounded down by less than 1
    rounding = (2.0 ** (here[0] - 18)).mean(axis=1)
    assert np.all(np.abs(here[0].mean(axis=1) - there) < 2e-5 + rounding)


def test_data_come_back_as_they_were(tmp_path: Path):
    path = tmp_path / "a.entropy"
    entropy_data.write(path, MODEL_ID, small_tables(), small_prior(), {"a": 1}, overwrite=False)
    data = EntropyData.read(path)
    assert data.model_id == MODEL_ID
    for name, array in dataclasses.asdict(small_tables()).items():
        assert np.array_equal(getattr(data.tables, name), array)
    for name, array in dataclasses.asdict(entropy_data.stored(small_prior())).items():
        assert np.array_equal(getattr(data.prior, name), array)


def test_damaged_data_are_refused(tmp_path: Path):
    path = tmp_path / "a.entropy"
    with pytest.raises(ModelError):
        EntropyData.read(path)
    entropy_data.write(path, MODEL_ID, small_tables(), None, {}, overwrite=False)
    whole = path.read_bytes()
    for broken in (b"", whole[:-1], whole[:100], b"\xff" * 1000):
        path.write_bytes(broken)
        with pytest.raises(ModelError):
            EntropyData.read(path)
    tables = small_tables()
    for change in (
        {"fraction_bits": tables.fraction_bits + 13},
        {"bias": tables.bias + (1 << 25)},
        {"out": tables.out[:-1]},
        {"embed": tables.embed[:, :-1]},
    ):
        with pytest.raises(ModelError):
            dataclasses.replace(tables, **change)


def test_what_does_not_fit_is_refused(coder):
    for codes in (
        random_codes(1, LEVELS, 4)[0],
        random_codes(1, LEVELS, 4)[..., :0],
        random_codes(1, LEVELS + 1, 4),
        np.full((1, 1, 1), WORDS, np.uint16),
        np.zeros((1, 1, 1), np.float32),
    ):
        with pytest.raises(TokensError):
            coder.encode(codes)
    with pytest.raises(FormatError):
        coder.decode(b"", 1, LEVELS + 1, 1)
    with pytest.raises(BackendError):
        TablesCoder(small_data(), "sse9")
    with pytest.raises(ModelError):
        PriorCoder(dataclasses.replace(small_data(), prior=None), small_codebooks())
    with pytest.raises(ModelError):
        PriorCoder(small_data(), small_codebooks()[:, :, :-1])


def test_a_file_holds_chunks_that_take_no_bytes(coder):
    codes = np.zeros((2, LEVELS, 100), np.uint16)
    assert coder.encode(codes[:, :, :50]) == b""
    header = Header(2, LEVELS, WORDS, Fraction(25), 24_000, MODEL_ID, 50)
    file = io.BytesIO()
    writer = Writer(file, header, coder)
    writer.write(codes)
    writer.finish(100 * 960)
    file.seek(0)
    assert np.array_equal(np.concatenate(list(Reader(file, lambda _: coder)), axis=2), codes)
    _, chunks = SeekableReader(file, lambda _: coder).read(50, 100)
    assert np.array_equal(next(chunks), codes[:, :, 50:])


SHIPPED = DEFAULT_WEIGHTS.with_suffix(SUFFIX)


@pytest.mark.skipif(not SHIPPED.exists(), reason="no data of the entropy coders ship")
@pytest.mark.parametrize("coder_id", [1, 2])
def test_the_shipped_data_code_the_shipped_model(coder_id: int):
    coder = entropy.load(DEFAULT_WEIGHTS, coder_id)
    assert coder.coder_id == coder_id
    random = np.random.default_rng(0)
    codes = random.integers(0, 1024, (2, 24, 3)).astype(np.uint16)
    for levels in (1, 7, 24):
        part = codes[:, :levels]
        assert np.array_equal(coder.decode(coder.encode(part), *part.shape), part)


def test_the_file_finds_the_coders_beside_the_weights(tmp_path: Path):
    weights = write_weights(tmp_path / "small.safetensors", SMALL)
    with pytest.raises(ModelError):
        load_coder("fast", SMALL.codebook_size, weights)
    assert load_coder(None, SMALL.codebook_size, weights).coder_id == 0
    shape = (SMALL.n_codebooks, SMALL.codebook_size, 2)
    random = np.random.default_rng(0)
    tables = entropy_data.quantise_tables(
        random.standard_normal((shape[0], len(CONTEXTS), *shape[1:])).astype(np.float32),
        random.standard_normal(shape).astype(np.float32),
        np.zeros(shape[:2], np.float32),
    )
    path = weights.with_suffix(SUFFIX)
    model_id = WeightsFile(weights).model_id
    entropy_data.write(path, model_id, tables, None, {}, overwrite=False)
    for name in (None, "fast", 1):
        coder = load_coder(name, SMALL.codebook_size, weights)
        assert coder.coder_id == 1
        assert coder.tables_id == hashlib.sha256(path.read_bytes()).digest()[:8]
    with pytest.raises(ModelError, match="no prior"):
        load_coder("best", SMALL.codebook_size, weights)
