"""What tests of whole runs share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from codec.training.prepare import PreparedAudio


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Keep torch to one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> PreparedAudio:
    from tests.helpers.nn_models import prepared

    return prepared(tmp_path_factory.mktemp("data"))
