"""Check on whole recordings that the same audio gives the same tokens and samples.

    python -m bench.exactness EVAL_DIR [--weights W.safetensors]

Every clip is encoded and decoded whole on the widest instruction set, then in every other way: on
each instruction set, in chunks, by a stream that is saved and restored on another set, in a batch,
on two threads, and as a prefix. What is printed are the numbers of codes and samples compared and
of those that differ; the exit code is 1 if one does. The scalar build runs at a few times real
time, the rest takes seconds.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

import codec
from bench.clips import SAMPLE_RATE, read_clips
from codec.benchmark.machine import machine
from codec.engine.native import NativeBackend, isas
from codec.engine.stream import StreamDecoder, StreamEncoder
from codec.model.location import DEFAULT_WEIGHTS

CHUNKS = (1, 17, 960, 24_000)
BATCH = 7

Audio = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint16]


class Comparison:
    """Counts, by check, of the numbers compared and of those that differ."""

    def __init__(self) -> None:
        self.compared: Counter[tuple[str, str]] = Counter()
        self.differing: Counter[tuple[str, str]] = Counter()

    def add(self, check: str, what: str, found: npt.NDArray, expected: npt.NDArray) -> None:
        self.compared[check, what] += expected.size
        same = found.shape == expected.shape
        differing = int((found != expected).sum()) if same else expected.size
        self.differing[check, what] += differing

    def table(self) -> str:
        lines = ["| check | codes | differ | samples | differ |", "|---|--:|--:|--:|--:|"]
        for check in dict.fromkeys(check for check, _ in self.compared):
            cells = []
            for what in ("codes", "samples"):
                n = self.compared[check, what]
                cells += [f"{n:,}", f"{self.differing[check, what]:,}"] if n else ["", ""]
            lines.append(" | ".join([f"| {check}", *cells]) + " |")
        return "\n".join(lines)


def pieces(array: npt.NDArray, size: int) -> Iterator[npt.NDArray]:
    """`array` cut along its last axis into parts of `size`."""
    for start in range(0, array.shape[-1], size):
        yield np.ascontiguousarray(array[..., start : start + size])


def joined(parts: Iterable[npt.NDArray]) -> npt.NDArray:
    return np.concatenate(list(parts), axis=-1)


def streamed(engine: NativeBackend, audio: Audio, codes: Codes, size: int) -> tuple[Codes, Audio]:
    """Both directions, pushed in chunks of `size` samples, and of as many frames."""
    encoder, decoder = StreamEncoder(engine, len(codes)), StreamDecoder(engine)
    found = [encoder.push(part) for part in pieces(audio, size)] + [encoder.flush()]
    hop = engine.config.hop_length
    heard = [decoder.push(part) for part in pieces(codes, max(1, size // hop))]
    return joined(found), joined([*heard, decoder.flush()])


def handed_over(
    engines: list[NativeBackend], audio: Audio, codes: Codes, at: int
) -> tuple[Codes, Audio]:
    """Both directions, begun by the first engine and, from sample `at` on, continued by the last
    from the saved state."""
    first, last = engines[0], engines[-1]
    encoders = [StreamEncoder(engine, len(codes)) for engine in (first, last)]
    decoders = [StreamDecoder(engine) for engine in (first, last)]
    frame = at // first.config.hop_length
    found = [encoders[0].push(audio[:at])]
    heard = [decoders[0].push(np.ascontiguousarray(codes[:, :frame]))]
    for old, new in (encoders, decoders):
        new.restore(old.save())
    found += [encoders[1].push(audio[at:]), encoders[1].flush()]
    heard += [decoders[1].push(np.ascontiguousarray(codes[:, frame:])), decoders[1].flush()]
    return joined(found), joined(heard)


def check(weights: Path, audios: list[Audio], progress: tqdm) -> Comparison:
    result = Comparison()
    engines = [NativeBackend(weights, isa) for isa in isas()]
    engine, count = engines[-1], engines[-1].config.n_codebooks
    model = codec.load(backend=engine)
    draw = random.Random(0)
    expected = []
    for audio in audios:
        codes = engine.encode(audio, count)
        decoded = engine.decode(codes)
        expected.append((codes, decoded))

        def add(name: str, found: Codes, heard: Audio, own=(codes, decoded)) -> None:
            result.add(name, "codes", found, own[0])
            result.add(name, "samples", heard, own[1])

        for isa, other in zip(isas()[:-1], engines[:-1], strict=True):
            add(f"{isa} = {isas()[-1]}", other.encode(audio, count), other.decode(codes))
        for size in CHUNKS:
            found, heard = streamed(engine, audio, codes, size)
            add(f"chunks of {size:,} samples = whole", found, heard)
        at = draw.randrange(len(audio))
        fast = [e for e in engines if e.isa != "scalar"] or engines
        add("saved, restored on another set = unbroken", *handed_over(fast, audio, codes, at))
        tokens = model.encode(audio, SAMPLE_RATE, threads=2)
        n = len(audio)
        add(
            "2 threads = 1",
            tokens.codes[0],
            model.decode(tokens, threads=2)[0],
            (codes, decoded[:n]),
        )
        prefix = draw.randrange(1, len(audio))
        found = engine.encode(audio[:prefix], count)
        final = max(0, (prefix - engine.encoder.lookahead) // engine.config.hop_length)
        result.add("prefix = prefix", "codes", found[:, :final], codes[:, :final])
        progress.update()
    order = list(range(len(audios)))
    draw.shuffle(order)
    for start in range(0, len(order), BATCH):
        some = order[start : start + BATCH]
        batch = model.encode_batch([audios[i] for i in some], SAMPLE_RATE, threads=2)
        for i, tokens, heard in zip(some, batch, model.decode_batch(batch, threads=2), strict=True):
            name = f"batch of {BATCH}, any order = alone"
            result.add(name, "codes", tokens.codes[0], expected[i][0])
            result.add(name, "samples", heard[0], expected[i][1][: len(audios[i])])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="EVAL_DIR")
    parser.add_argument("--weights", type=Path, default=DEFAULT_WEIGHTS)
    options = parser.parse_args()
    audios = [np.asarray(clip.audio, np.float32) for clip in read_clips(options.folder)]
    with tqdm(total=len(audios), unit="clip", disable=None) as bar:
        result = check(options.weights, audios, bar)
    seconds = sum(map(len, audios)) / SAMPLE_RATE
    print(f"{len(audios)} clips, {seconds:.0f} s; {', '.join(isas())}; {machine()}\n")
    print(result.table())
    sys.exit(1 if sum(result.differing.values()) else 0)


if __name__ == "__main__":
    main()
