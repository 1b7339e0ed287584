"""A language model of audio as a user has it: codes in, codes out."""

from __future__ import annotations

import dataclasses
import math
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from codec.errors import OptionError, TokensError
from codec.lm.model.adaptation import Report, adapted, unreported
from codec.lm.model.config import LmConfig
from codec.lm.model.files import read_network
from codec.lm.model.generation import View, generate
from codec.lm.model.network import Network
from codec.lm.model.sampling import Sampling
from codec.support.arguments import as_array, real, shown, single, whole
from codec.support.types import Codes

STEPS = 3  # of learning from a prompt; many more learn it by heart
LEARNING_RATE = 3e-4


@dataclasses.dataclass(frozen=True)
class Conditions:
    """What the model is asked for; each part may be missing.

    tags: words of `LmConfig.tags`.
    voice: codes [levels or more, frames] of another stretch of the voice; training shows 3 s.
    phones: int64 [frames, 3] as `codec.lm.speech.phones.lay` makes them, one row for each frame of
        the prompt and of what follows; zeros where no phone is asked for.
    """

    tags: Sequence[str] = ()
    voice: npt.ArrayLike | None = None
    phones: npt.ArrayLike | None = None


class LanguageModel:
    """Goes on with codes, frame by frame. Safe to share between threads: generation has its own
    state.

    network: in evaluation mode, on the device that generates. kinds: the tags that occurred
    together in training, the most frequent kind first.
    """

    def __init__(self, network: Network, kinds: Sequence[Sequence[str]] = ()) -> None:
        self.network, self.kinds = network, tuple(map(tuple, kinds))

    @classmethod
    def read(cls, path: Path, device: torch.device | str = "cpu") -> LanguageModel:
        """Read a weights file. Raises ModelError."""
        network, kinds = read_network(path)
        return cls(network.to(device), kinds)

    @property
    def config(self) -> LmConfig:
        """The model's dimensions."""
        return self.network.config

    def generate(
        self,
        prompt: npt.ArrayLike | None = None,
        conditions: Conditions | None = None,
        frames: int = 250,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        guidance: float = 1.0,
        prompt_guidance: float = 1.0,
        seed: int | None = None,
    ) -> Iterator[Codes]:
        """Yield `frames` frames that follow `prompt`: uint16 [levels, 1], each when it is made.

        prompt: codes [levels or more, T]; the model reads its own levels of them. By default the
            audio begins.
        temperature, top_k, top_p: of `codec.lm.model.sampling.Sampling`.
        guidance: how much the phones count, or the voice where there are none, or the tags where
            there is neither: 1 for what the model says, more to follow them more closely, with one
            sequence more to compute (classifier-free guidance, arXiv 2207.12598).
        prompt_guidance: the same for the prompt, together with the voice. Codes that are likelier
            after this prompt than after none get likelier still, which keeps its voice
            (context-aware decoding, arXiv 2305.14739).
        seed: the same seed gives the same codes on the same machine; by default another each time.

        Raises OptionError or TokensError at once, before the first frame.
        """
        sampling = Sampling(temperature, top_k, top_p)
        count = whole(frames, "frames", OptionError)
        if count < 0:
            raise OptionError(f"{count} frames cannot be made")
        strengths = (
            real(guidance, "guidance", OptionError),
            real(prompt_guidance, "prompt_guidance", OptionError),
        )
        if not all(map(math.isfinite, strengths)):
            raise OptionError("guidance and prompt_guidance are finite numbers")
        number = secrets.randbits(63) if seed is None else whole(seed, "the seed", OptionError)
        codes = None if prompt is None else self._codes(prompt, "the prompt")
        before = 0 if codes is None else codes.shape[1]
        with torch.inference_mode():
            views = self._views(conditions or Conditions(), before, count, *strengths)
        made = generate(self.network, codes, views, count, sampling, number)
        return (frame.cpu().numpy().astype(np.uint16)[:, None] for frame in made)

    def adapted(
        self,
        cuts: npt.ArrayLike,
        conditions: Conditions | None = None,
        *,
        steps: int = STEPS,
        learning_rate: float = LEARNING_RATE,
        report: Report = unreported,
    ) -> LanguageModel:
        """Return a model that has learned from a stretch which it is to go on with.

        Its voice, or its instruments and its room, become likelier (`codec.lm.model.adaptation`).
        This model stays as it is.

        cuts: codes [levels or more, frames], or [cuts, levels or more, frames] of the same audio
            that is cut into frames at other places (`codec.lm.cuts.cuts_of`). The last `context`
            frames count.
        conditions: of the stretch; phones has a row for each of its frames.
        steps, learning_rate: of Adam. More steps follow the stretch more closely, until they know
            it by heart. `bench/lm.md` compares.
        report: is called before each step and after the last with the steps done and all steps.

        Raises OptionError or TokensError.
        """
        count = whole(steps, "steps", OptionError)
        rate = real(learning_rate, "learning_rate", OptionError)
        if count < 0 or not 0 < rate <= 1:
            raise OptionError("a model learns in 0 or more steps, at a rate above 0, at most 1")
        array = array_of(cuts, "cuts")
        each = [self._codes(codes, "cuts") for codes in (array if array.ndim == 3 else [array])]
        if not count or not each or not each[0].shape[1]:
            return self
        parts = self._parts(conditions or Conditions(), each[0].shape[1])
        together = torch.stack(each)[:, :, -self.config.context :]
        if "phones" in parts:
            parts["phones"] = parts["phones"][:, -self.config.context :]
        network = adapted(
            self.network, together, parts, steps=count, learning_rate=rate, report=report
        )
        return LanguageModel(network, self.kinds)

    def bits(self, codes: npt.ArrayLike, conditions: Conditions | None = None) -> Any:
        """The cost of each code in bits, float32 [levels, frames], of codes [levels, frames]."""
        own = self._codes(codes, "codes")
        if not own.shape[1]:
            return np.zeros(tuple(own.shape), np.float32)
        with torch.inference_mode():
            parts = self._parts(conditions or Conditions(), own.shape[1])
            added = self.network.conditions(own.shape[1], **parts)
            logs = torch.log_softmax(self.network(own[None], added)[:, 0].float(), -1)
            cost = -logs.gather(2, own.unsqueeze(-1)).squeeze(-1) / np.log(2)
        return cost.cpu().numpy().astype(np.float32)

    def kind_of(
        self, codes: npt.ArrayLike, prior: Mapping[str, float] | None = None
    ) -> tuple[str, ...]:
        """The tags of `kinds` by which codes [levels or more, frames] cost the fewest bits.

        The last 3 s count (`LmConfig.voice_frames`). Without kinds or frames, no tags. prior: bits
        that a tag saves: 7 make it 128 times as likely beforehand.
        """
        own = self._codes(codes, "codes")[:, -self.config.voice_frames :]
        if not self.kinds or not own.shape[1]:
            return ()
        saved = prior or {}
        costs = [
            float(self.bits(own.cpu(), Conditions(tags=kind)).sum())
            - sum(saved.get(tag, 0.0) for tag in kind)
            for kind in self.kinds
        ]
        return self.kinds[int(np.argmin(costs))]

    def _codes(self, codes: npt.ArrayLike, what: str) -> Tensor:
        config, array = self.config, single(array_of(codes, what))
        if array.ndim != 2 or array.dtype.kind not in "iu" or len(array) < config.levels:
            raise TokensError(
                f"{what}: codes are integers [{config.levels} or more levels, frames], not"
                f" {array.dtype} {list(array.shape)}"
            )
        own = array[: config.levels].astype(np.int64)
        if own.size and not 0 <= own.min() <= own.max() < config.codebook_size:
            raise TokensError(f"{what}: codes are 0 to {config.codebook_size - 1}")
        return torch.from_numpy(own).to(self.network.begin.device)

    def _parts(self, asked: Conditions, frames: int) -> dict[str, Tensor]:
        """What `Network.conditions` takes, of the conditions that are there."""
        config, device = self.config, self.network.begin.device
        parts = {}
        if isinstance(asked.tags, str) or not isinstance(asked.tags, Sequence):
            raise OptionError(f"tags are a list of words, not {shown(asked.tags)}")
        if asked.tags:
            unknown = [word for word in asked.tags if word not in config.tags]
            if unknown:
                known = ", ".join(config.tags) or "none"
                raise OptionError(f"the model does not know {unknown[0]!r}; it knows {known}")
            numbers = [config.tags.index(word) for word in asked.tags]
            parts["tags"] = torch.tensor([numbers], device=device)
        if asked.voice is not None:
            parts["voice"] = self._codes(asked.voice, "the voice")[None]
        if asked.phones is not None:
            array = array_of(asked.phones, "phones")
            if array.shape != (frames, 3) or array.dtype.kind not in "iu":
                raise TokensError(f"phones are integers [{frames}, 3], not {list(array.shape)}")
            if array.size and not 0 <= array[:, 0].min() <= array[:, 0].max() < config.phones:
                raise TokensError(f"phones have ids 0 to {config.phones - 1}")
            parts["phones"] = torch.from_numpy(array.astype(np.int64)).to(device)[None]
        return parts

    def _views(
        self, asked: Conditions, before: int, count: int, guidance: float, prompt_guidance: float
    ) -> list[View]:
        """The sequences to compute, the one that knows all first."""
        parts = self._parts(asked, before + count)

        def view(without: Sequence[str] = (), weight: float = 1.0, blind: int = 0) -> View:
            kept = {name: part for name, part in parts.items() if name not in without}
            return View(self.network.conditions(before + count, **kept), weight, blind)

        # scores + (guidance - 1) (scores - those without), for each of the two
        less = []
        guided = next((name for name in ("phones", "voice", "tags") if name in parts), None)
        if guidance != 1 and guided:
            less.append(view([guided], 1 - guidance))
        if prompt_guidance != 1 and (before or "voice" in parts):
            less.append(view(["voice"], 1 - prompt_guidance, before))
        return [view(weight=1 - sum(other.weight for other in less)), *less]


def array_of(value: npt.ArrayLike, what: str) -> npt.NDArray[Any]:
    """Convert lists, an array or a tensor to an array of any shape and dtype.

    what: its name in the message. Raises TokensError on what is no array.
    """
    try:
        return as_array(value)
    except ValueError as error:
        raise TokensError(f"{what}: {error}") from None
