"""A missing package is an error that says what to install; any other missing module is not."""

from __future__ import annotations

import importlib

import pytest

from codec.errors import MissingPackageError
from codec.support.packages import needed


def test_the_missing_package_alone_is_named() -> None:
    remedy = MissingPackageError("pip install nothing_of_this_name")
    with pytest.raises(MissingPackageError, match="pip install"), needed("no_such", remedy):
        importlib.import_module("no_such")
    with pytest.raises(ModuleNotFoundError, match="no_other"), needed("no_such", remedy):
        importlib.import_module("no_other")
    with needed("json", remedy):
        importlib.import_module("json")
