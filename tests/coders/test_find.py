"""Which coder a name or a number is."""

from __future__ import annotations

import pytest

from codec.coders.base import CODER_IDS, RawCoder
from codec.coders.find import load_coder
from codec.errors import FormatError, ModelError, OptionError


def test_names_and_numbers():
    for coder in ("raw", 0, None):
        found = load_coder(coder, 1024)
        assert isinstance(found, RawCoder)
        assert found.tables_id == bytes(8)
    with pytest.raises(OptionError, match="one of raw, fast, best"):
        load_coder("slow", 1024)
    with pytest.raises(FormatError, match="coder 3"):
        load_coder(3, 1024)


@pytest.mark.parametrize("name", ["fast", "best"])
def test_a_model_without_data_has_raw_codes_only(name):
    for coder in (name, CODER_IDS[name]):
        with pytest.raises(ModelError, match=f"no data for the coder '{name}'"):
            load_coder(coder, 1024)
