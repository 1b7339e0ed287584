"""A speaker with a tiny network that has learned nothing."""

from __future__ import annotations

import numpy as np
import torch

import codec
from codec.lm.model.config import preset
from codec.lm.model.language_model import LanguageModel
from codec.lm.model.network import Network
from codec.lm.speech.durations import DurationModel
from codec.lm.speech.phone_model import PhoneModel
from codec.lm.speech.phones import lay
from codec.lm.speech.speak import Speaker
from codec.lm.speech.voices import Speech, Voice

LEVELS = 2
MODEL = codec.load()


def tiny_speaker() -> Speaker:
    """Of the shipped codec, with the voice "ann"."""
    torch.set_num_threads(1)
    own = MODEL.model_id.hex()
    return Speaker(MODEL, LanguageModel(tiny_network(own)), tiny_speech(own))


def tiny_network(of: str) -> Network:
    torch.manual_seed(0)
    size = MODEL.config.codebook_size
    config = preset("tiny", codec=of, levels=LEVELS, codebook_size=size, tags=("speech",))
    return Network(config).eval().requires_grad_(False)


def tiny_speech(of: str) -> Speech:
    torch.manual_seed(0)
    codes = np.random.default_rng(0).integers(0, 1024, (LEVELS, 6)).astype(np.uint16)
    phones = lay(["AA", "S"], [12, 12])
    voice = Voice("ann", codes, phones, "ann", 0.0, "CC0-1.0", "nobody")
    durations = DurationModel(["ann"], width=8, layers=1)
    return Speech(of, durations.eval(), {"ann": voice}, PhoneModel(8, 4).eval())
