"""Versions of what else has a hand in the tokens: decoders and the resampler."""

from __future__ import annotations


def libraries() -> dict[str, str]:
    import soundfile
    import soxr

    return {
        "libsndfile": str(soundfile.__libsndfile_version__),
        "soxr": str(soxr.__version__),
    }
