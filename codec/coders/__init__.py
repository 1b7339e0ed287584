"""Turns codes into the bytes of a chunk and back: raw bits, integer tables, a neural prior."""

from codec.coders.base import CODER_IDS, CODER_NAMES, Coder, RawCoder
from codec.coders.find import load_coder

__all__ = ["CODER_IDS", "CODER_NAMES", "Coder", "RawCoder", "load_coder"]
