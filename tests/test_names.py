"""One public name means one thing: no two modules of the tool have public classes of the same name."""

from __future__ import annotations

import ast
from collections import defaultdict

from tests.conftest import REPOSITORY

SHARED = {
    "Run": "the run of a command line, and a journal's event, whose class name is its tag on disk",
}


def test_no_two_public_classes_have_one_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted((REPOSITORY / "cgcli").rglob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(REPOSITORY)))
    shared = {name: found for name, found in places.items() if len(found) > 1}
    assert shared.keys() == SHARED.keys(), shared


def test_color_has_one_spelling() -> None:
    text = {path: path.read_text("utf-8") for path in (REPOSITORY / "cgcli").rglob("*.py")}
    assert not [str(path) for path, source in text.items() if "colour" in source.lower()]
