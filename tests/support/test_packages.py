"""A missing package is an error that says what to install; any other missing module is not."""

from __future__ import annotations

import importlib
import sys
import warnings
from pathlib import Path

import pytest

from codec.errors import MissingPackageError
from codec.support.packages import imported, needed, require


def test_the_missing_package_alone_is_named() -> None:
    remedy = MissingPackageError("pip install nothing_of_this_name")
    with pytest.raises(MissingPackageError, match="pip install"), needed("no_such", remedy):
        importlib.import_module("no_such")
    with pytest.raises(ModuleNotFoundError, match="no_other"), needed("no_such", remedy):
        importlib.import_module("no_other")
    with needed("json", remedy):
        importlib.import_module("json")


def test_what_a_package_warns_of_on_import_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loud_module.py").write_text("import warnings; warnings.warn('old'); value = 1")
    monkeypatch.syspath_prepend(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert imported("loud_module").value == 1
    del sys.modules["loud_module"]


def test_the_first_that_is_not_installed_is_named_with_our_extra() -> None:
    require(["json", "email"], "bench")
    with pytest.raises(MissingPackageError, match=r"^no_such is .*: pip install 'codec\[bench\]'$"):
        require(["json", "no_such", "no_other"], "bench")
