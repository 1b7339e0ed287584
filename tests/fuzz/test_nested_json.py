"""JSON that is nested too deeply is damage to every reader, and no internal error."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from codec.corpus.archives import _said
from codec.errors import CodecError
from codec.lm.model.config import LmConfig
from codec.lm.vocabulary import Vocabulary
from codec.model.config import ModelConfig
from codec.model.enhancer_config import EnhancerConfig
from codec.training.config import TrainConfig

NESTED = "[" * 100_000


@pytest.mark.parametrize(
    "read",
    [
        ModelConfig.from_json,
        EnhancerConfig.from_json,
        LmConfig.from_json,
        Vocabulary.from_json,
        TrainConfig.from_json,
    ],
)
def test_a_configuration(read: Callable[[str], object]) -> None:
    with pytest.raises(CodecError, match=r"configuration|not a vocabulary"):
        read(NESTED)


def test_the_columns_of_a_sample() -> None:
    with pytest.raises(ValueError, match="recursion"):
        _said("json", NESTED.encode())
