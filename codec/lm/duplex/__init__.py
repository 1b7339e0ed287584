"""Full duplex over tokens: listen and speak at once, on one clock of the model's frames."""

from codec.lm.duplex.conversation import Conversation
from codec.lm.duplex.detectors import EnergyDetector, SileroDetector, load_detector
from codec.lm.duplex.events import Event, Turn
from codec.lm.duplex.turns import TurnTaking

__all__ = [
    "Conversation",
    "EnergyDetector",
    "Event",
    "SileroDetector",
    "Turn",
    "TurnTaking",
    "load_detector",
]
