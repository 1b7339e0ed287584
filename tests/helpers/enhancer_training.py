"""An enhancer's training that is small in every way, and with every part at work from the start."""

from __future__ import annotations

from codec.engine.backend import Backend
from codec.model.enhancer_config import EnhancerConfig
from codec.support.workers import Workers
from codec.training.enhancer.batches import Batches
from codec.training.enhancer.config import EnhancerTraining
from codec.training.enhancer.stretches import code
from codec.training.prepare import PreparedAudio

ENHANCER = EnhancerConfig(
    bands=8, wide=100, narrow=60, dim=16, hidden=32, blocks=1, kernel_size=3, lookahead=1
)
CHANGES = {
    "batch_size": 2,
    "crop_samples": 3840,
    "context_samples": 960,
    "critics": "3x256+6x128+1x512",
    "critic_channels": 2,
    "critics_from": 1,
    "critics_warmup": 2,
    "warmup_steps": 2,
    "precision": "float32",
    "refined_share": 0.0,
    "model": {name: getattr(ENHANCER, name) for name in vars(ENHANCER)},
}
TINY = EnhancerTraining().replace(CHANGES)


def batches(
    audio: PreparedAudio, backend: Backend, config: EnhancerTraining, workers: Workers | None = None
) -> Batches:
    """Code the audio and make the batches of it."""
    return Batches(audio, code(audio, backend, config), backend, config, workers)
