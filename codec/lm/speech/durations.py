"""How long each phone lasts: a small convolutional network from phones to durations.

It sees the phones with their neighbours, where words end, punctuation, the voice where it was in
the training set, and a speaking rate; it gives each phone's duration. It is trained on alignments
(`fit`), with the absolute error of the logarithm, so it predicts medians; `scale` brings the sum
of a clip's durations back to what it should be.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from codec.errors import TextError
from codec.lm.speech.phones import PAUSE, PHONES, ids_of, read_alignment
from codec.lm.speech.pronounce import phones_of

Floats = npt.NDArray[np.float64]

# What follows a phone: nothing, the end of its word; and what a pause is for: a comma, the end of
# a sentence, the edge of the clip, or nothing that the text shows.
FOLLOWS = ("", " ", ",", ".", "edge", "?")
SHORTEST = 2.0  # in units of 10 ms
LONGEST = 150.0


@dataclasses.dataclass(frozen=True)
class Clip:
    """Phones of one recording. durations: in units of 10 ms."""

    phones: list[str]
    follows: list[str]
    durations: list[float]
    speaker: str = ""


class DurationModel(nn.Module):
    """Log durations (units of 10 ms) of phones: float32 [batch, phones].

    voices: names of the speakers it tells apart; any other voice is number 0.
    """

    def __init__(self, voices: Sequence[str] = (), width: int = 96, layers: int = 4) -> None:
        super().__init__()
        self.voices = tuple(voices)
        self.width, self.layers = width, layers
        self.phone = nn.Embedding(len(PHONES) + 1, width, padding_idx=0)
        self.follow = nn.Embedding(len(FOLLOWS), width)
        self.voice = nn.Embedding(len(self.voices) + 1, width)
        self.rate = nn.Linear(1, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, 2 * width, 5, padding=2) for _ in range(layers)
        )
        self.out = nn.Linear(width, 1)
        self.scale: Tensor
        self.register_buffer("scale", torch.ones(()))
        self.means: Tensor  # of the log duration of each phone
        self.register_buffer("means", torch.full((len(PHONES) + 1,), 2.0))

    def forward(self, phones: Tensor, follows: Tensor, voice: Tensor, rate: Tensor) -> Tensor:
        """phones, follows: int64 [batch, phones], phone 0 for padding. voice: int64 [batch].

        rate: float32 [batch], how much longer than usual phones last, as a logarithm.
        """
        present = (phones > 0)[..., None].float()
        condition = self.voice(voice) + self.rate(rate[:, None])
        x = (self.phone(phones) + self.follow(follows) + condition[:, None]) * present
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            value, gate = convolution((norm(x) * present).mT).mT.chunk(2, -1)
            x = (x + value * torch.sigmoid(gate)) * present
        residual: Tensor = self.out(x)[..., 0]
        return residual + self.means[phones] + rate[:, None] * (phones != _PAUSE_ID)

    @torch.no_grad()
    def predict(
        self, phones: Sequence[str], follows: Sequence[str], *, voice: str = "", rate: float = 0.0
    ) -> Floats:
        """Return durations in units of 10 ms: float64 [phones].

        voice: a name of `voices`; any other is an average voice. rate: as in `forward`.
        """
        number = self.voices.index(voice) + 1 if voice in self.voices else 0
        logs = self(
            torch.tensor([ids_of(phones)]),
            torch.tensor([[FOLLOWS.index(item) for item in follows]]),
            torch.tensor([number]),
            torch.tensor([rate], dtype=torch.float32),
        )[0]
        durations = (logs.exp() * self.scale).double().clamp(SHORTEST, LONGEST)
        return np.asarray(durations.numpy(), np.float64)

    def config(self) -> dict[str, Any]:
        """Return what the constructor takes."""
        return {"voices": list(self.voices), "width": self.width, "layers": self.layers}


_PAUSE_ID = ids_of([PAUSE])[0]


def clip_of(text: str, alignment: str, duration: float, speaker: str = "") -> Clip:
    """Return the clip of an alignment "START:PHONE ..." of `duration` seconds.

    What follows each phone is carried over from the phones of the text, where the two agree. Raises
    DataError on an alignment that cannot be read.
    """
    phones, starts = read_alignment(alignment)
    ends = [*starts[1:], max(starts[-1] + 1, round(100 * duration))] if starts else []
    follows = ["edge" if k in (0, len(phones) - 1) else "?" for k in range(len(phones))]
    for k, phone in enumerate(phones):
        if phone != PAUSE:
            follows[k] = ""
    try:
        wanted, said = phones_of(text)
    except TextError:
        wanted, said = [], []
    blocks = difflib.SequenceMatcher(None, phones, wanted, autojunk=False).get_matching_blocks()
    for start, other, size in blocks:
        for k in range(size):
            if follows[start + k] != "edge":
                follows[start + k] = said[other + k]
    durations = [float(end - start) for start, end in zip(starts, ends, strict=True)]
    return Clip(phones, follows, durations, speaker)


def rate_of(clip: Clip, means: Mapping[str, float]) -> float:
    """Return how much longer than usual the phones of a clip are: a mean of logarithms."""
    spoken = [
        math.log(duration) - means[phone]
        for phone, duration in zip(clip.phones, clip.durations, strict=True)
        if phone != PAUSE
    ]
    return float(np.mean(spoken)) if spoken else 0.0


def mean_logs(clips: Sequence[Clip]) -> dict[str, float]:
    """Return the mean log duration of every phone; of one that never occurs, that of all."""
    logs: dict[str, list[float]] = {phone: [] for phone in PHONES}
    for clip in clips:
        for phone, duration in zip(clip.phones, clip.durations, strict=True):
            logs[phone].append(math.log(duration))
    everything = float(np.mean([value for values in logs.values() for value in values]))
    return {phone: float(np.mean(values or [everything])) for phone, values in logs.items()}


def fit(
    clips: Sequence[Clip],
    voices: Sequence[str] = (),
    *,
    epochs: int = 12,
    batch_size: int = 16,
    learning_rate: float = 2e-3,
    width: int = 96,
    layers: int = 4,
    seed: int = 0,
    report: Callable[[int, float], None] = lambda epoch, loss: None,
) -> DurationModel:
    """Train a model on clips. The voice and the rate are left out of half of the clips at random.

    report: called after each epoch with its number, from 1, and the mean loss.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DurationModel(voices, width, layers)
    means = mean_logs(clips)
    model.means[1:] = torch.tensor([means[phone] for phone in PHONES])
    steps = epochs * -(-len(clips) // batch_size)
    optimiser = torch.optim.AdamW(model.parameters(), learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, max(2, steps))
    examples = [_example(model, clip, means) for clip in clips]
    for epoch in range(1, epochs + 1):
        losses = []
        # clips of like lengths in a batch
        order = torch.randperm(len(clips), generator=generator).tolist()
        pools = [order[k : k + 32 * batch_size] for k in range(0, len(order), 32 * batch_size)]
        for pool in pools:
            pool.sort(key=lambda number: len(examples[number][0]))
            batches = [pool[k : k + batch_size] for k in range(0, len(pool), batch_size)]
            for place in torch.randperm(len(batches), generator=generator).tolist():
                chosen = [examples[number] for number in batches[place]]
                loss = _loss(model, chosen, generator)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
                losses.append(loss.item())
        report(epoch, float(np.mean(losses)))
    model.eval()
    _set_scale(model, examples)
    return model


_Example = tuple[Tensor, Tensor, Tensor, int, float]  # phones, follows, logs, voice, rate


def _example(model: DurationModel, clip: Clip, means: Mapping[str, float]) -> _Example:
    number = model.voices.index(clip.speaker) + 1 if clip.speaker in model.voices else 0
    return (
        torch.tensor(ids_of(clip.phones)),
        torch.tensor([FOLLOWS.index(item) for item in clip.follows]),
        torch.tensor(clip.durations, dtype=torch.float32).log(),
        number,
        rate_of(clip, means),
    )


def _padded(items: Sequence[Tensor]) -> Tensor:
    return nn.utils.rnn.pad_sequence(list(items), batch_first=True)


def _loss(model: DurationModel, chosen: Sequence[_Example], generator: torch.Generator) -> Tensor:
    phones, follows, logs = (_padded([item[k] for item in chosen]) for k in range(3))  # type: ignore[misc]
    voices = torch.tensor([item[3] for item in chosen])
    rates = torch.tensor([item[4] for item in chosen], dtype=torch.float32)
    draws = torch.rand((2, len(chosen)), generator=generator)
    voices, rates = voices * (draws[0] < 0.5), rates * (draws[1] < 0.5)
    wrong = (model(phones, follows, voices, rates) - logs).abs()
    present = (phones > 0) & (phones != _PAUSE_ID)
    pauses = phones == _PAUSE_ID
    loss: Tensor = (wrong * (present + 0.3 * pauses)).sum() / present.sum()
    return loss


@torch.no_grad()
def _set_scale(model: DurationModel, examples: Sequence[_Example]) -> None:
    """Let the durations of spoken phones sum to what was spoken."""
    wanted = predicted = 0.0
    for phones, follows, logs, voice, rate in examples:
        spoken = phones != _PAUSE_ID
        found = model(phones[None], follows[None], torch.tensor([voice]), torch.tensor([rate]))[0]
        wanted += float(logs.exp()[spoken].sum())
        predicted += float(found.exp()[spoken].sum())
    model.scale.fill_(wanted / predicted if predicted else 1.0)


def errors(
    model: DurationModel, clips: Sequence[Clip], *, with_rate: bool = True
) -> dict[str, float]:
    """Return how far predicted durations are from spoken ones, for phones that are no pauses.

    "error": the mean absolute error, "baseline": that of each phone's mean, both in ms;
    "correlation": Pearson's. with_rate: whether the clip's own speaking rate is given.
    """
    means = {phone: float(model.means[number]) for number, phone in enumerate(PHONES, 1)}
    spoken, predicted, usual = [], [], []
    for clip in clips:
        rate = rate_of(clip, means) if with_rate else 0.0
        found = model.predict(clip.phones, clip.follows, voice=clip.speaker, rate=rate)
        for phone, duration, guess in zip(clip.phones, clip.durations, found, strict=True):
            if phone != PAUSE:
                spoken.append(10 * duration)
                predicted.append(10 * float(guess))
                usual.append(10 * math.exp(means[phone] + rate))
    truth = np.array(spoken)
    return {
        "error": float(np.abs(truth - predicted).mean()),
        "baseline": float(np.abs(truth - usual).mean()),
        "correlation": float(np.corrcoef(truth, predicted)[0, 1]),
    }
