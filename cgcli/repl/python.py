"""The names that a Python program defines, without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from cgcli.program.languages import parse_python
from cgcli.program.program import Program


def names(program: Program) -> set[str]:
    """The names that a program defines; of a part that does not parse, none."""
    parts = [program.prefix, *(turn.completion for turn in program.turns)]
    return {name for part in parts if (tree := parse_python(part)) for name in _defined(tree)}


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name
            case ast.alias(name=name, asname=asname):
                yield (asname or name).partition(".")[0]
