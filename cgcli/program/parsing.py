"""Whether a text is Python, as Python itself says, without running it."""

from __future__ import annotations

import ast
import warnings

from cgcli.program.program import Program


def parsed(text: str) -> ast.Module | None:
    """Its syntax tree; None where it has none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a doubtful escape in a string is not ours to tell
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def broken_turn(program: Program) -> int | None:
    """The first turn with which a Python program no longer parses; None also where what is before them does not."""
    if parsed(program.prefix) is None:
        return None
    text = program.source()
    return next((i for i, span in enumerate(program.spans()) if parsed(text[: span.end]) is None), None)
