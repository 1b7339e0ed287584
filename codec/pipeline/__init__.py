"""The plumbing between a model and its users: blocks of audio, chunks of codes, coders."""

from codec.pipeline.model import Pipeline, stretch_of

__all__ = ["Pipeline", "stretch_of"]
