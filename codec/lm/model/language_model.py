"""A language model of audio as a user has it: codes in, codes out."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from codec.errors import OptionError, TokensError
from codec.lm.model.config import LmConfig
from codec.lm.model.files import read_network
from codec.lm.model.generation import generate
from codec.lm.model.network import Network
from codec.lm.model.sampling import Sampling
from codec.support.arguments import as_array, real, whole
from codec.support.types import Codes


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
        seed: int | None = None,
    ) -> Iterator[Codes]:
        """Yield `frames` frames that follow `prompt`: uint16 [levels, 1], each when it is made.

        prompt: codes [levels or more, T]; the model reads its own levels of them. By default the
            audio begins.
        temperature, top_k, top_p: of `codec.lm.model.sampling.Sampling`.
        guidance: how much the phones count, or the voice where there are none, or the tags where
            there is neither: 1 for what the model says, more to follow them more closely, at twice
            the work (classifier-free guidance, arXiv 2207.12598).
        seed: the same seed gives the same codes on the same machine; by default another each time.

        Raises OptionError or TokensError at once, before the first frame.
        """
        sampling = Sampling(temperature, top_k, top_p)
        count = whole(frames, "frames", OptionError)
        if count < 0:
            raise OptionError(f"{count} frames cannot be made")
        strength = real(guidance, "guidance", OptionError)
        number = secrets.randbits(63) if seed is None else whole(seed, "the seed", OptionError)
        codes = None if prompt is None else self._codes(prompt, "the prompt")
        before = 0 if codes is None else codes.shape[1]
        with torch.inference_mode():
            added = self._conditions(conditions or Conditions(), before + count, strength)
        made = generate(self.network, codes, added, count, sampling, number, strength)
        return (frame.cpu().numpy().astype(np.uint16)[:, None] for frame in made)

    def bits(self, codes: npt.ArrayLike, conditions: Conditions | None = None) -> Any:
        """The cost of each code in bits, float32 [levels, frames], of codes [levels, frames]."""
        own = self._codes(codes, "codes")
        with torch.inference_mode():
            added = self._conditions(conditions or Conditions(), own.shape[1], 1.0)
            logs = torch.log_softmax(self.network(own[None], added)[:, 0].float(), -1)
            cost = -logs.gather(2, own.unsqueeze(-1)).squeeze(-1) / np.log(2)
        return cost.cpu().numpy().astype(np.float32)

    def _codes(self, codes: npt.ArrayLike, what: str) -> Tensor:
        config, array = self.config, as_array(codes)
        if array.ndim == 3 and len(array) == 1:
            array = array[0]
        if array.ndim != 2 or array.dtype.kind not in "iu" or len(array) < config.levels:
            raise TokensError(
                f"{what}: codes are integers [{config.levels} or more levels, frames], not"
                f" {array.dtype} {list(array.shape)}"
            )
        own = array[: config.levels].astype(np.int64)
        if own.size and not 0 <= own.min() <= own.max() < config.codebook_size:
            raise TokensError(f"{what}: codes are 0 to {config.codebook_size - 1}")
        return torch.from_numpy(own).to(self.network.begin.device)

    def _conditions(self, asked: Conditions, frames: int, guidance: float) -> Tensor | None:
        network, config = self.network, self.config
        device = network.begin.device
        tags = voice = phones = None
        if asked.tags:
            unknown = [word for word in asked.tags if word not in config.tags]
            if unknown:
                known = ", ".join(config.tags) or "none"
                raise OptionError(f"the model does not know {unknown[0]!r}; it knows {known}")
            numbers = [config.tags.index(word) for word in asked.tags]
            tags = torch.tensor([numbers], device=device)
        if asked.voice is not None:
            voice = self._codes(asked.voice, "the voice")[None]
        if asked.phones is not None:
            array = as_array(asked.phones)
            if array.shape != (frames, 3) or array.dtype.kind not in "iu":
                raise TokensError(f"phones are integers [{frames}, 3], not {list(array.shape)}")
            if array.size and not 0 <= array[:, 0].min() <= array[:, 0].max() < config.phones:
                raise TokensError(f"phones have ids 0 to {config.phones - 1}")
            phones = torch.from_numpy(array.astype(np.int64)).to(device)[None]
        added = network.conditions(frames, tags, voice, phones)
        if guidance == 1 or added is None:
            return added
        if phones is not None:
            without = network.conditions(frames, tags, voice)
        else:
            without = None if voice is None else network.conditions(frames, tags)
        if without is None:
            without = torch.zeros_like(added)
        return torch.cat([added, without.expand_as(added)])
