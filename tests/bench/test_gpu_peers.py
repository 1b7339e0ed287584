"""The comparison with other codecs on one device, with small models on the CPU."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from torch import Tensor  # noqa: E402

from bench.gpu import peers  # noqa: E402
from bench.gpu.peers import PEERS, Peer, Row, build, line, rows, works_of  # noqa: E402


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_small_models_go_through_it(peer: Peer, dtype: str) -> None:
    kind = getattr(torch, dtype)
    encode, decode = works_of(peer, build(peer, small=True).to(kind))
    audio = 0.1 * torch.randn(2, 9_600, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        codes = encode(audio.to(kind))
        assert codes.shape[:2] == (2, peer.codebooks)
        assert decode(codes).reshape(2, -1).shape[1] == pytest.approx(9_600, abs=1_920)
        found = list(rows(peer.name, kind, encode, decode, {1: audio[:1], 2: audio}, 0.0))
    assert [(row.name, row.dtype, row.batch) for row in found] == [
        (peer.name, dtype, size) for size in (1, 2)
    ]
    assert all(row.encode and row.decode for row in found)
    assert found[0].changed is None
    assert found[1].changed is not None


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_bitrates_are_those_of_the_published_architectures(peer: Peer) -> None:
    import transformers

    config = getattr(transformers, peer.config)(**peer.full)
    assert config.sampling_rate == peers.RATE
    hop = round(config.sampling_rate / config.frame_rate) if peer.name != "DAC" else 320
    bits = peer.codebooks * (config.codebook_size.bit_length() - 1)
    assert bits * config.sampling_rate / hop / 1000 == pytest.approx(peer.kbits)


def test_codes_that_change_are_counted_and_failures_said(capsys: pytest.CaptureFixture) -> None:
    def encode(audio: Tensor) -> Tensor:
        if len(audio) == 3:
            raise torch.OutOfMemoryError
        codes = torch.zeros(len(audio), 2, 4)
        codes[:, 0, 0] = len(audio)
        return codes

    items = {size: torch.zeros(size, 24_000) for size in (1, 2, 3)}
    one, two, three = rows("x", torch.float32, encode, lambda codes: codes, items, 0.0)
    assert (one.changed, two.changed) == (None, 1 / 8)
    assert (three.encode, three.decode) == (None, None)
    assert "x, float32, 3: no memory" in capsys.readouterr().out
    assert line(three) == "| x | float32 | 3 | failed | failed |  |"
    assert line(Row("x", "y", 2, 3.14159, 1234.5, 0.125)) == "| x | y | 2 | 3.14 | 1,234 | 12.50% |"
