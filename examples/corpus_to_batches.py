"""Tokenize a folder of audio and read it back in batches for a language model.

    python examples/corpus_to_batches.py speech/ tokens/ --codebooks 4 --length 512

Both halves resume: the tokens after an interruption, the batches from `state_dict()`. The same with
the command line: `codec tokenize speech/ -o tokens/ --layout flat -n 4`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import codec
from codec.corpus import TokenBatches, TokenDataset
from codec.corpus.rows import Settings
from codec.corpus.run import Corpus, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Tokenize, print the first batch, and return the number of batches in an epoch."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("audio", help="folder of audio")
    parser.add_argument("tokens", type=Path, help="folder for the shards")
    parser.add_argument("--codebooks", type=int, default=4)
    parser.add_argument("--length", type=int, default=512, help="ids in a sequence")
    parser.add_argument("--batch-size", type=int, default=8)
    options = parser.parse_args(arguments)

    model = codec.load()
    settings = Settings(options.codebooks, "flat")
    card = run(Corpus(model, [options.audio], options.tokens, settings, "bin"))
    print(f"{card['rows']} recordings, {card['hours']:.3f} h, {card['ids']} ids")

    dataset = TokenDataset(options.tokens, length=options.length, seed=0)
    batches = TokenBatches(dataset, batch_size=options.batch_size)
    count = len(dataset) // options.batch_size
    for ids in batches:  # int64 [batch_size, length]; goes round without an end
        print(f"{count} batches in an epoch; the first: {ids.dtype} {list(ids.shape)}")
        break
    return count


if __name__ == "__main__":
    main()
