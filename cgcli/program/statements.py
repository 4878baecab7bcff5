"""Python source by lines and statements, as CPython numbers them."""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

_LINE_END = re.compile(r"\r\n?|\n")
_BLOCKS = ("body", "handlers", "cases", "orelse", "finalbody")


class Lines:
    """Where the lines of a text begin. Lines are counted from 1; a form feed ends none."""

    def __init__(self, text: str) -> None:
        self._begins = [0, *(match.end() for match in _LINE_END.finditer(text))]
        self._text = text

    def begin(self, line: int) -> int:
        """The position of a line; the end of the text for lines after the last one."""
        return self._begins[line - 1] if line <= len(self._begins) else len(self._text)

    def position(self, line: int, column: int) -> int:
        """The position of a column, which `ast` counts in bytes of UTF-8."""
        begin = self.begin(line)
        return begin + len(self._text[begin : self.begin(line + 1)].encode()[:column].decode())

    @property
    def last(self) -> int:
        """The last line that is not blank."""
        return self.number(max(len(self._text.rstrip()) - 1, 0))

    def number(self, position: int) -> int:
        """The line of a position."""
        return bisect_right(self._begins, position)


def first_line(statement: ast.stmt) -> int:
    """The line on which a statement begins, decorators included."""
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(one.lineno for one in decorators)])


def is_compound(statement: ast.stmt) -> bool:
    """Whether more lines may follow that belong to it: a block, or a clause such as `else`."""
    return any(hasattr(statement, name) for name in _BLOCKS)


def outer_statements(tree: ast.Module, line: int) -> list[ast.stmt]:
    """The statements of a text that begins on a line of the program `tree`, in their order, without those inside them.

    They have the indentation of the first one, or less. A simple statement that began before the text is one of them.
    """
    return list(_outer(tree.body, line))


def _outer(block: Sequence[ast.stmt], line: int) -> Iterator[ast.stmt]:
    for statement in block:
        if (statement.end_lineno or statement.lineno) < line:
            continue
        if first_line(statement) >= line or not is_compound(statement):
            yield statement
        else:
            yield from _inside(statement, line)


def _inside(statement: ast.stmt, line: int) -> Iterator[ast.stmt]:
    for name in _BLOCKS:
        block = getattr(statement, name, [])
        if name in ("handlers", "cases"):
            for part in block:
                yield from _outer(part.body, line)
        elif name == "orelse" and block and (block[0].col_offset, type(block[0])) == (statement.col_offset, ast.If):
            yield from _inside(block[0], line)  # `elif`
        else:
            yield from _outer(block, line)
