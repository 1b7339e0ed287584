"""Record the microphone to a .nac file, frame by frame, until Ctrl-C.

    python examples/record.py voice.nac                    # needs: pip install sounddevice
    python examples/record.py voice.nac --wav talk.wav     # a WAV file instead of a microphone

Each chunk of two seconds is in the file as soon as it is complete: if the power fails, everything
before it can be decoded (`codec decompress --salvage`).
"""

from __future__ import annotations

import argparse
import contextlib
import queue
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

import codec

BLOCK = 480  # samples: 20 ms at 24 kHz

Samples = npt.NDArray[np.float32]


def microphone(rate: int) -> Iterator[Samples]:
    """Give blocks of the default microphone, float32 [samples], without end."""
    import sounddevice

    blocks: queue.SimpleQueue[Samples] = queue.SimpleQueue()

    def arrived(data: Samples, frames: int, time: Any, status: Any) -> None:
        blocks.put(data[:, 0].copy())

    with sounddevice.InputStream(rate, BLOCK, channels=1, dtype="float32", callback=arrived):
        print("recording; Ctrl-C stops")
        while True:
            yield blocks.get()


def wav_file(path: Path, rate: int) -> Iterator[Samples]:
    """Give the first channel of a WAV file in blocks, float32 [samples]."""
    with soundfile.SoundFile(path) as file:
        if file.samplerate != rate:
            raise SystemExit(f"{path}: {file.samplerate} Hz; this example takes {rate} Hz")
        yield from (block[:, 0] for block in file.blocks(BLOCK, dtype="float32", always_2d=True))


def main(arguments: Sequence[str] | None = None) -> None:
    """Record until the source ends or Ctrl-C."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--wav", type=Path, help="read this file instead of a microphone")
    parser.add_argument("-n", "--codebooks", type=int, default=12)
    options = parser.parse_args(arguments)

    model = codec.load()
    rate = model.config.sample_rate
    blocks = wav_file(options.wav, rate) if options.wav else microphone(rate)
    recorder = codec.Recorder(options.output, model, n_codebooks=options.codebooks)
    try:
        with recorder, contextlib.suppress(KeyboardInterrupt):
            for block in blocks:
                recorder.write(block)
    except codec.CodecError as error:
        raise SystemExit(f"{options.output}: {error}") from None
    seconds = recorder.n_samples / rate
    print(f"{options.output}: {seconds:.2f} s, {options.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
