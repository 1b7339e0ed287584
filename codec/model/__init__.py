"""Describes a model: its dimensions, its name, its weights file, and how far it sees."""

from codec.model.config import ModelConfig
from codec.model.identity import model_id, same_tokens
from codec.model.receptive_field import Reach, decoder_reach, encoder_reach
from codec.model.weights_file import WeightsFile

__all__ = [
    "ModelConfig",
    "Reach",
    "WeightsFile",
    "decoder_reach",
    "encoder_reach",
    "model_id",
    "same_tokens",
]
