"""What is said next, where nobody says it: a recurrent network that draws phones with durations.

It does for `codec continue` what the semantic stage does in AudioLM (arXiv 2209.03143), and the
unit language model in textless speech (GSLM, arXiv 2102.01192): it decides on sounds of speech, to
which the language model of audio then gives a voice. It knows phones and no words, so what it draws
has the sound of English and pieces of its words, and means nothing.

A gated recurrent unit reads each phone with its duration, and gives the chances of the next phone,
or of the clip's end, and of that phone's duration in classes that grow by a constant factor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.lm.speech.durations import LONGEST, SHORTEST, Clip
from codec.lm.speech.phones import PAUSE, PHONES, Laid, ids_of, lay

EDGE = 0  # stands for the clip's beginning and its end
LONGEST_PAUSE = 30.0  # units of 10 ms: of those that are drawn
TOP_P = 0.9


class PhoneModel(nn.Module):
    """Scores of the next phone and its duration.

    width: of the recurrent state. classes: of durations, from 20 ms to 1.5 s.
    """

    def __init__(self, width: int = 128, classes: int = 24) -> None:
        super().__init__()
        self.width, self.classes = width, classes
        self.phone = nn.Embedding(len(PHONES) + 1, width)
        self.duration = nn.Embedding(classes, width)
        self.state = nn.GRU(width, width, batch_first=True)
        self.dropout = nn.Dropout(0.3)
        self.next_phone = nn.Linear(width, len(PHONES) + 1)
        self.next_duration = nn.Linear(width, classes)

    def class_of(self, durations: Tensor) -> Tensor:
        """The classes, int64, of durations in units of 10 ms."""
        share: Tensor = (durations / SHORTEST).log() / np.log(LONGEST / SHORTEST)
        return (share * self.classes).long().clamp(0, self.classes - 1)

    def duration_of(self, number: int, within: float) -> float:
        """The duration, in units of 10 ms, at `within` (0 to 1) of a class."""
        share = (number + within) / self.classes
        return float(SHORTEST * (LONGEST / SHORTEST) ** share)

    def forward(self, phones: Tensor, durations: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [batch, n, phones + 1] and [batch, n, classes] of what follows each phone.

        phones: int64 [batch, n + 1], the first `EDGE`. durations: their classes, int64, of which
        that of an edge does not count. The second scores know the phone whose duration they are of.
        """
        heard = self.phone(phones[:, :-1])
        heard = heard + self.duration(durations[:, :-1]) * (phones[:, :-1] != EDGE)[..., None]
        states = self.dropout(self.state(self.dropout(heard))[0])
        knowing = states + self.phone(phones[:, 1:])
        return self.next_phone(states), self.next_duration(knowing)

    def config(self) -> dict[str, Any]:
        """Return what the constructor takes."""
        return {"width": self.width, "classes": self.classes}

    @torch.inference_mode()
    def draw(self, seed: int, *, temperature: float = 1.0) -> Iterator[tuple[str, float]]:
        """Yield phones with durations in units of 10 ms, without end.

        temperature: by which scores of phones are divided. The same seed draws the same phones.
        """
        random = np.random.default_rng(seed)
        hidden: Tensor | None = None
        heard = self.phone.weight[EDGE]
        while True:
            out, hidden = self.state(heard[None, None], hidden)
            state = out[0, 0]
            phone = _drawn(self.next_phone(state) / temperature, random)
            if phone == EDGE:
                hidden, heard = None, self.phone.weight[EDGE]
                continue
            of_phone = self.phone.weight[phone]
            number = _drawn(self.next_duration(state + of_phone), random)
            heard = of_phone + self.duration.weight[number]
            yield PHONES[phone - 1], self.duration_of(number, random.random())


def _drawn(scores: Tensor, random: np.random.Generator) -> int:
    """Draw by scores, float32 [n], among the likeliest whose chances sum to `TOP_P`."""
    chances, order = torch.softmax(scores, 0).sort(descending=True, stable=True)
    ends = chances.cumsum(0).double().numpy()
    kept = int(np.searchsorted(ends, TOP_P)) + 1
    place = np.searchsorted(ends[:kept], random.random() * ends[kept - 1], side="right")
    return int(order[min(int(place), kept - 1)])


def spoken(model: PhoneModel, frames: int, seed: int, *, frame_rate: float = 25.0) -> Laid:
    """Draw phones for `frames` frames, laid along them: int64 [frames, 3] (`phones.lay`)."""
    phones: list[str] = []
    durations: list[float] = []
    made = model.draw(seed)
    while sum(durations) < 100 * frames / frame_rate:
        phone, duration = next(made)
        phones.append(phone)
        durations.append(min(duration, LONGEST_PAUSE) if phone == PAUSE else duration)
    return lay(phones, durations, frames, frame_rate=frame_rate)


def fit_phones(
    clips: Sequence[Clip],
    *,
    epochs: int = 12,
    batch_size: int = 32,
    learning_rate: float = 3e-3,
    width: int = 128,
    seed: int = 0,
    report: Callable[[int, float], None] = lambda epoch, loss: None,
) -> PhoneModel:
    """Train a model on the phones of clips.

    report: called after each epoch with its number, from 1, and the mean loss.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = PhoneModel(width)
        optimiser = torch.optim.AdamW(model.parameters(), learning_rate, weight_decay=0.05)
        steps = epochs * -(-len(clips) // batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, max(2, steps))
        for epoch in range(1, epochs + 1):
            losses = []
            order = torch.randperm(len(clips), generator=generator).tolist()
            for first in range(0, len(clips), batch_size):
                loss = _loss(model, [clips[k] for k in order[first : first + batch_size]])[0]
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()
                schedule.step()
                losses.append(loss.item())
            report(epoch, float(np.mean(losses)))
    return model.eval()


def _loss(model: PhoneModel, clips: Sequence[Clip]) -> tuple[Tensor, Tensor]:
    """The mean loss of phones and durations, and that of phones alone, in nats."""
    longest = max(len(clip.phones) for clip in clips) + 2
    phones = torch.zeros((len(clips), longest), dtype=torch.int64)
    durations = torch.zeros_like(phones)
    for row, clip in enumerate(clips):
        count = len(clip.phones)
        phones[row, 1 : count + 1] = torch.tensor(ids_of(clip.phones))
        durations[row, 1 : count + 1] = model.class_of(torch.tensor(clip.durations))
    lengths = torch.tensor([len(clip.phones) for clip in clips])[:, None]
    place = torch.arange(longest - 1)[None]
    of_phones, of_durations = model(phones, durations)
    cost = F.cross_entropy(of_phones.mT, phones[:, 1:], reduction="none")
    known = place <= lengths  # the edge that ends a clip included
    first = (cost * known).sum() / known.sum()
    cost = F.cross_entropy(of_durations.mT, durations[:, 1:], reduction="none")
    second = (cost * (place < lengths)).sum() / lengths.sum()
    return first + second, first.detach()


@torch.no_grad()
def perplexity(model: PhoneModel, clips: Sequence[Clip]) -> float:
    """Return the perplexity of the phones of clips, their ends included."""
    counts = [len(clip.phones) + 1 for clip in clips]
    costs = [float(_loss(model, [clip])[1]) for clip in clips]
    return float(np.exp(np.average(costs, weights=counts)))
