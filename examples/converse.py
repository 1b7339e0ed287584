"""Talk with a program through the sound card: it listens while it speaks.

    python examples/converse.py                                # needs: pip install sounddevice
    python examples/converse.py --wav talk.wav -o heard.wav    # files instead of the sound card

It says what it heard; `reply` is the place for a model. Use headphones: echo is not cancelled.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

import codec
from codec.lm.duplex import Conversation, Event, Turn

BLOCK = 240  # samples: 10 ms at 24 kHz

Samples = npt.NDArray[np.float32]


def reply(turn: Turn) -> npt.NDArray[np.uint16]:
    """Give the tokens to say, [codebooks, frames]: here those that were heard."""
    return turn.codes


def tell(event: Event) -> None:
    """Print what happens."""
    print(f"{event.sample / 24_000:8.2f} s  {event.kind}", flush=True)


def through_sound_card(conversation: Conversation, rate: int) -> None:
    """Converse until Ctrl-C."""
    import sounddevice

    def arrived(heard: Any, played: Any, frames: int, time: Any, status: Any) -> None:
        played[:, 0] = conversation.exchange(heard[:, 0])

    with sounddevice.Stream(
        rate, BLOCK, channels=1, dtype="float32", latency="low", callback=arrived
    ):
        print("speak; Ctrl-C stops")
        threading.Event().wait()


def through_files(conversation: Conversation, rate: int, source: Path, target: Path) -> None:
    """Converse with a recording, as fast as it goes, and write what the loudspeaker played."""
    heard, found = soundfile.read(source, dtype="float32", always_2d=True)
    if found != rate:
        raise SystemExit(f"{source}: {found} Hz; this example takes {rate} Hz")
    played = [
        conversation.exchange(heard[start : start + BLOCK, 0])
        for start in range(0, len(heard), BLOCK)
    ]
    soundfile.write(target, np.concatenate(played), rate)


def main(arguments: Sequence[str] | None = None) -> None:
    """Converse through the sound card, or through files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--wav", type=Path, help="hear this file instead of a microphone")
    parser.add_argument("-o", "--output", type=Path, help="play to this file")
    parser.add_argument("-n", "--codebooks", type=int, default=8)
    options = parser.parse_args(arguments)
    if (options.wav is None) != (options.output is None):
        parser.error("--wav and -o go together")

    model = codec.load()
    rate = model.config.sample_rate
    with Conversation(
        model, reply, n_codebooks=options.codebooks, threaded=options.wav is None, on_event=tell
    ) as conversation:
        if options.wav:
            through_files(conversation, rate, options.wav, options.output)
        else:
            try:
                through_sound_card(conversation, rate)
            except KeyboardInterrupt:
                print("stopped")


if __name__ == "__main__":
    main()
