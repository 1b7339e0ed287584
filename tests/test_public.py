"""What `import codec` offers: loaded when it is asked for."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

import pytest

import codec
from tests.helpers.processes import python


def test_every_name_is_what_type_checkers_are_told() -> None:
    told = {}
    for node in ast.walk(ast.parse(Path(codec.__file__).read_text())):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("codec."):
            for alias in node.names:
                told[alias.asname or alias.name] = (str(node.module), alias.name)
    assert sorted(told) == sorted(codec.__all__)
    for name, (module, own) in told.items():
        assert getattr(codec, name) is getattr(importlib.import_module(module), own)
    assert set(codec.__all__) <= set(dir(codec))


def test_other_names_are_modules_or_none() -> None:
    assert codec.audio is sys.modules["codec.audio"]
    for name in ("nothing", "__nothing__"):
        with pytest.raises(AttributeError, match=f"module 'codec' has no attribute '{name}'"):
            getattr(codec, name)


def test_the_command_can_be_interrupted_before_large_packages_are_loaded() -> None:
    code = "import codec, sys; print({'numpy', 'click', 'soundfile'} & set(sys.modules))"
    assert python(code).strip() == "set()"
