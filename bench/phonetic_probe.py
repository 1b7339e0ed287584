"""How much of the phones a model's first level tells: a linear probe, and mutual information.

    python -m bench.phonetic_probe DATA [--weights W.safetensors]

DATA has train/speech/librispeech_train_clean_5_*.opus, and train/phones.tsv, which says when each
phone is spoken. A frame has the label of its middle; frames of silence, and those without a label,
are left out. Training frames are of files 000 to 010, test frames of files 011 to 013, whose
speakers are others. Per model:

- wrong, linear: multinomial logistic regression from the codewords of level 1, standardised and
  with a small L2 penalty, fitted to the training frames: the share of test frames whose phone it
  does not find.
- wrong, table: for each code the phone that it most often stands for in training.
- wrong, most frequent: always the most frequent phone of training, for comparison.
- mutual information of codes and phones in the training frames, relative to the phones' entropy,
  from the counts (many frames a code: the bias is small, and the table says how many).
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from codec.audio.reader import read_audio
from codec.audio.resample import resample
from codec.benchmark.machine import machine
from codec.engine.native import NativeBackend
from codec.errors import CodecError, DataError
from codec.model.location import weights_path
from codec.model.weights_file import WeightsFile
from codec.training.phones import AlignedClip, read_table

NAME = "train/speech/librispeech_train_clean_5_{:03d}.opus"
TRAIN, TEST = range(11), range(11, 14)
# A model that learns phones must not learn those of the test's speakers, one of whom goes on into
# the next file: `bench.development` leaves out the labels of these files.
UNTAUGHT = tuple(NAME.format(number) for number in range(11, 15))
SILENCE = "SIL"
PENALTY = 1e-4  # of the squared weights, beside the mean cross-entropy

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Probed:
    linear: float  # shares of test frames that are wrong
    table: float
    frequent: float
    information: float  # mutual information / entropy of the phones
    train_frames: int
    test_frames: int


def labels_of(clips: Sequence[AlignedClip], frames: int, frame_rate: float) -> list[str]:
    """Name the phone in the middle of each of a file's frames; "" where there is none."""
    labels = [""] * frames
    for clip in clips:
        first = round(np.ceil(clip.offset * frame_rate - 0.5))
        last = min(frames, round(np.ceil((clip.offset + clip.duration) * frame_rate - 0.5)))
        middles = (np.arange(first, last) + 0.5) / frame_rate - clip.offset
        labels[first:last] = clip.at(middles)
    return labels


def count(
    codes: npt.NDArray[np.integer], labels: Sequence[str], names: list[str], size: int
) -> Counts:
    """Count how often each code stands for each phone; int64 [size, phones]."""
    counts = np.zeros((size, len(names)), np.int64)
    numbers = {name: number for number, name in enumerate(names)}
    for code, label in zip(codes, labels, strict=True):
        if label in numbers:
            counts[code, numbers[label]] += 1
    return counts


def fit_linear(words: Floats, counts: Counts) -> Floats:
    """Fit multinomial logistic regression to counted pairs; scores of every codeword.

    words: [size, dim]. counts: [size, phones]. Returns scores [size, phones].
    """
    import torch

    weight = counts.sum(1) / counts.sum()
    mean = weight @ words
    deviation = np.sqrt(weight @ (words - mean) ** 2)
    x = torch.from_numpy((words - mean) / np.where(deviation > 0, deviation, 1.0))
    target = torch.from_numpy(counts / counts.sum())
    layer = torch.nn.Linear(x.shape[1], counts.shape[1], dtype=torch.float64)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    solver = torch.optim.LBFGS(
        layer.parameters(), max_iter=500, history_size=20, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        solver.zero_grad()
        entropy = -(target * torch.log_softmax(layer(x), 1)).sum()
        total = entropy + PENALTY * layer.weight.square().sum()
        total.backward()
        return total

    solver.step(loss)
    with torch.no_grad():
        scores: Floats = layer(x).numpy()
    return scores


def mutual_information(counts: Counts) -> float:
    """Compute the mutual information of rows and columns over the entropy of the columns."""
    joint = counts / counts.sum()

    def entropy(shares: Floats) -> float:
        kept = shares[shares > 0]
        return float(-(kept * np.log(kept)).sum())

    rows, columns = entropy(joint.sum(1)), entropy(joint.sum(0))
    return (rows + columns - entropy(joint.ravel())) / columns


def wrong(choice: npt.NDArray[np.integer], counts: Counts) -> float:
    """Give the share of counted frames whose phone is not `choice` [size] of their code."""
    return 1 - counts[np.arange(len(counts)), choice].sum() / counts.sum()


def probe(words: Floats, train: Counts, test: Counts) -> Probed:
    """Probe the codewords `words` [size, dim] by frames counted by code and phone."""
    frequent = int(train.sum(0).argmax())
    table = np.where(train.sum(1) > 0, train.argmax(1), frequent)
    return Probed(
        wrong(fit_linear(words, train).argmax(1), test),
        wrong(table, test),
        wrong(np.full(len(words), frequent), test),
        mutual_information(train),
        int(train.sum()),
        int(test.sum()),
    )


def measure(data: Path, weights: Path) -> Probed:
    """Encode the files of DATA and probe level 1. Raises DataError if one is missing."""
    backend = NativeBackend(weights)
    config = backend.config
    words = WeightsFile(weights).codebooks[0].astype(np.float64)
    clips = read_table(data / "train/phones.tsv")
    names = sorted({phone for clip in clips for _, phone in clip.phones} - {SILENCE})
    found = []
    for files in (TRAIN, TEST):
        counts = np.zeros((config.codebook_size, len(names)), np.int64)
        for number in tqdm(files, disable=None, leave=False):
            name = NAME.format(number)
            own = [clip for clip in clips if clip.path == name]
            if not (data / name).is_file() or not own:
                raise DataError(f"{data / name} or its rows in train/phones.tsv are missing")
            audio, rate = read_audio(data / name)
            codes = backend.encode(resample(audio.mean(axis=0), rate, config.sample_rate), 1)[0]
            labels = labels_of(own, len(codes), config.frame_rate)
            counts += count(codes, labels, names, config.codebook_size)
        found.append(counts)
    return probe(words, *found)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that holds train/")
    parser.add_argument("--weights", default="default", help=".safetensors; default: the package's")
    options = parser.parse_args(arguments)
    try:
        path = weights_path(options.weights)
        result = measure(options.data, path)
        model = WeightsFile(path).model_id.hex()
    except CodecError as error:
        sys.exit(f"error: {error}")
    print(f"Model {model}; {machine()}\n")
    print("| level 1 | of test frames |\n|---|--:|")
    print(f"| wrong, linear probe | {result.linear:.1%} |")
    print(f"| wrong, table of codes | {result.table:.1%} |")
    print(f"| wrong, always the most frequent phone | {result.frequent:.1%} |\n")
    print(
        f"Mutual information with the phones {result.information:.2f} of their entropy. "
        f"{result.train_frames} training and {result.test_frames} test frames."
    )


if __name__ == "__main__":
    main()
