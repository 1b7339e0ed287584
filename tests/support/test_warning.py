"""Where warnings point."""

from __future__ import annotations

import sys
import types
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from codec.errors import CodecWarning
from codec.support import warning


def inner(call: str) -> types.ModuleType:
    """Make a module of the package that calls what it is given."""
    module = types.ModuleType("codec.inner")
    exec(f"def run(f, *args):\n    return {call}", vars(module))
    return module


def test_the_place_is_the_first_line_outside_of_the_package() -> None:
    here = sys._getframe().f_lineno + 1
    place = inner("f(*args)").run(inner("f(*args)").run, warning.caller)
    assert place[:3] == (__file__, here, __name__)


def test_names_that_begin_alike_are_outside() -> None:
    module = types.ModuleType("codecs_of_others")
    exec("def run(f):\n    return f()", vars(module))
    assert module.run(warning.caller).module == "codecs_of_others"


def test_a_thread_warns_at_the_place_it_is_given() -> None:
    place = warning.caller()
    with ThreadPoolExecutor(1) as pool, pytest.warns(CodecWarning, match="loud") as caught:
        pool.submit(warning.warn, "loud", place).result()
    assert (caught[0].filename, caught[0].lineno) == (place.filename, place.line)


def test_a_line_warns_once_by_default() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            warning.warn("loud")
    assert len(caught) == 1
