"""One public name means one thing: no two modules of the tool have public classes or functions of the same name."""

from __future__ import annotations

import ast
from collections import defaultdict

from tests.conftest import REPOSITORY

SHARED_CLASSES = {
    "Run": "the run of a command line, and a journal's event, whose class name is its tag on disk",
}
SHARED_FUNCTIONS = {
    "checker": "makes the checks of a benchmark's samples: of HumanEval, and of MTPB",
    "draw_rows": "draws a benchmark's samples: of HumanEval, and of MTPB",
    "main": "where a process starts: the tool, its command line, and the children that quantize and run programs",
    "rotate": "rotary embedding in NumPy and in JAX; the reference shares no code with what it checks",
}
COMMANDS = ("cgcli/cli", "cgcli/repl/commands")
"""Functions there have the names that users type."""


def shared(kind: type[ast.stmt], *, without: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """The public names of this kind that several modules define, with their modules."""
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted((REPOSITORY / "cgcli").rglob("*.py")):
        where = path.relative_to(REPOSITORY)
        if str(where.parent) not in without:
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, kind) and not (name := getattr(node, "name", "_")).startswith("_"):
                    places[name].append(str(where))
    return {name: found for name, found in places.items() if len(found) > 1}


def test_no_two_public_classes_have_one_name() -> None:
    found = shared(ast.ClassDef)
    assert found.keys() == SHARED_CLASSES.keys(), found


def test_no_two_public_functions_have_one_name() -> None:
    found = shared(ast.FunctionDef, without=COMMANDS)
    assert found.keys() == SHARED_FUNCTIONS.keys(), found


def test_color_has_one_spelling() -> None:
    text = {path: path.read_text("utf-8") for path in (REPOSITORY / "cgcli").rglob("*.py")}
    assert not [str(path) for path, source in text.items() if "colour" in source.lower()]
