"""The player: a reply whose frames come one by one is whole, however far the decoder looks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

import codec
from codec.lm.duplex.player import Player
from codec.lm.duplex.replies import Ended
from codec.support.types import Codes

pytest.importorskip("codec.engine._engine", reason="the native engine was not built")

CLIPS = Path(__file__).parents[2] / "clips"
SLOT, LEVELS = 960, 4
MODEL = codec.load()
CLIP = soundfile.read(CLIPS / "strings.flac", dtype="float32", always_2d=True)[0][: 20 * SLOT, 0]
CODES = MODEL.encode(CLIP, 24_000, n_codebooks=LEVELS).codes[0]
HOWS: list[dict[str, bool]] = [{}, {"postfilter": True}, {"enhance": True}]


class Source:
    """Frames, of which `there` have come."""

    def __init__(self, codes: Codes, there: int) -> None:
        self.codes, self.there, self._taken = codes, there, 0

    def take(self) -> Codes | None:
        if self._taken == self.codes.shape[1]:
            raise Ended
        if self._taken >= self.there:
            return None
        self._taken += 1
        return self.codes[:, self._taken - 1 : self._taken]


@pytest.mark.parametrize("how", HOWS, ids="".join)
@pytest.mark.parametrize("frames", [1, 2, 5, 20])
@pytest.mark.parametrize("there", [1, 2, 3, 4])
@pytest.mark.parametrize("each", [1, 2, 9])
def test_a_reply_frame_by_frame(how: dict[str, bool], frames: int, there: int, each: int) -> None:
    player, source = Player(MODEL, LEVELS, **how), Source(CODES[:, :frames], there)
    first = source.take()
    assert first is not None
    player.begin(first, source.take)
    out, told, going = [], [], True
    while going:
        told.append(player.frame())
        out.append(player.render(SLOT))
        source.there += each
        going = player.slot(source.take)
    assert player.underruns == 0
    assert player.heard == frames * SLOT
    assert np.array_equal(player.frames.read(0, frames), source.codes)

    sound = MODEL.decode(MODEL.tokens(source.codes), **how)[0]
    played = np.concatenate(out)
    late = 0 if there >= frames else max(0, player.latency - (there - 1) * SLOT)
    assert np.array_equal(played[late : late + len(sound)], sound)
    assert not played[:late].any()
    assert not played[late + len(sound) :].any()
    # Each frame is told once, in the slot in which it begins.
    before, codes = late // SLOT, np.concatenate(told, axis=1)
    assert np.array_equal(codes[:, before : before + frames], source.codes)
    for column in (*codes[:, :before].T, *codes[:, before + frames :].T):
        assert np.array_equal(column[:, None], player.silence)
