"""Check an installed wheel: `python tests/smoke.py`, with nothing but the codec installed."""

from __future__ import annotations

import numpy as np

import codec


def main() -> None:
    """Encode, compress and restore one second."""
    model = codec.load()
    time = np.arange(24_000) / 24_000
    audio = (0.3 * np.sin(2 * np.pi * 220 * time)).astype(np.float32)
    tokens = model.encode(audio, 24_000)
    assert tokens.codes.shape == (1, model.config.n_codebooks, 25), tokens.codes.shape
    restored, rate = model.decompress(model.compress(audio, 24_000))
    assert (rate, restored.shape) == (24_000, (1, 24_000))
    assert np.array_equal(restored, model.decode(tokens))
    print(f"codec {codec.__version__}, model {model.model_id.hex()}: works")


if __name__ == "__main__":
    main()
