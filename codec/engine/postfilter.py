"""A postfilter for voices: less noise between the harmonics of decoded audio.

It needs nothing but the decoded audio; csrc/engine/postfilter.h defines it to the bit.
"""

from __future__ import annotations

from codec.engine.post import Post
from codec.errors import BackendError
from codec.model.receptive_field import Reach
from codec.support.packages import needed

MISSING = BackendError("the postfilter needs the native engine, which is not built")


def postfilter_at(sample_rate: int) -> Post:
    """Return the postfilter for audio at `sample_rate`.

    Raises BackendError unless the rate is 24 kHz and the native engine is built.
    """
    with needed("codec.engine._engine", MISSING):
        from codec.engine import _engine
    if sample_rate != _engine.POSTFILTER_RATE:
        raise BackendError(
            f"the postfilter is for models of {_engine.POSTFILTER_RATE} Hz, not {sample_rate} Hz"
        )
    return Post(
        name="postfilter",
        made_by=(postfilter_at, (sample_rate,)),
        hop=_engine.POSTFILTER_HOP,
        reach=Reach(*_engine.POSTFILTER_REACH),
        run=_engine.postfilter,
        stream=_engine.PostfilterStream(),
    )
