"""Imports that programs forget: what is written for which use, and the table of attributes.

    python -m tests.program.test_imports

fills the lines of the table that have a name and nothing else, and drops attributes that this Python lacks.
"""

from __future__ import annotations

import importlib
import types
from pathlib import Path

import pytest

from cgcli.program import imports
from cgcli.program.imports import import_of, stdlib

TABLE = Path(imports.__file__).with_name("stdlib.txt")


def found(name: str) -> object:
    """A module, or a class as `module.Class`."""
    module, _, member = name.partition(".")
    whole = importlib.import_module(module)
    return getattr(whole, member) if member else whole


def attributes(name: str) -> list[str]:
    """The public names of a module or class, without other modules that it imports."""
    owner = found(name)
    public = [one for one in getattr(owner, "__all__", dir(owner)) if not one.startswith("_")]
    return sorted(
        one for one in public if (name, one) == ("os", "path") or not isinstance(getattr(owner, one), types.ModuleType)
    )


@pytest.mark.filterwarnings("ignore")
def test_the_table_has_only_attributes_that_are_there() -> None:
    for name, names in stdlib().items():
        owner = found(name)
        assert [one for one in names if not hasattr(owner, one)] == []


def test_the_table_leaves_out_what_is_mostly_peoples_own() -> None:
    assert {"sqrt", "pi"} <= stdlib()["math"]
    assert {"path", "listdir"} <= stdlib()["os"]
    assert not {"cmd", "code", "profile", "select", "symbol", "test", "token"} & stdlib().keys()


@pytest.mark.parametrize(
    ("name", "uses", "statement"),
    [
        ("math", {".sqrt", ".pi"}, "import math"),
        ("math", {".sqrt", "()"}, None),
        ("string", {".upper"}, None),  # a string of the program's
        ("np", {".array"}, "import numpy as np"),
        ("np", {"()"}, None),
        ("Counter", {"()"}, "from collections import Counter"),
        ("Counter", {"()", ""}, None),
        ("List", {"[]"}, "from typing import List"),
        ("Any", {":"}, "from typing import Any"),
        ("List", {"()"}, None),
        ("datetime", {".timedelta"}, "import datetime"),
        ("datetime", {"()"}, "from datetime import datetime"),
        ("datetime", {".now", "()"}, "from datetime import datetime"),
        ("datetime", {".now", ""}, None),
        ("datetime", {".now", ".lower"}, None),
        ("Path", {".home"}, "from pathlib import Path"),
        ("code", {".compile_command"}, None),
        ("digits", {"()"}, None),
        ("sample", {"()"}, None),
        ("is_prime", {"()"}, None),
    ],
)
def test_what_is_written(name: str, uses: set[str], statement: str | None) -> None:
    assert import_of(name, uses) == statement


def test_every_member_is_there() -> None:
    called = [import_of(name, {"()"}) for name in imports._MODULE_OF]
    typing = [import_of(name, {"[]"}) for name in imports._TYPING]
    assert None not in called + typing
    exec("\n".join(map(str, called + typing)), {})


def write() -> None:
    kept = {name: set(attributes(name)) & (names or set(attributes(name))) for name, names in stdlib().items()}
    TABLE.write_text("".join(f"{name}: {' '.join(sorted(kept[name]))}\n" for name in sorted(kept)), "utf-8")


if __name__ == "__main__":
    write()
