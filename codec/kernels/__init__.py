"""Implementations of the public operations (log-mel, RVQ), and the choice between them."""

from codec.kernels.choose import available, load, resolve

__all__ = ["available", "load", "resolve"]
