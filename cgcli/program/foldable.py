"""What may be left out of a piece of a program where a model has too little room: its comments, its functions' bodies.

Python is taken apart by ast and tokenize; a piece that does not parse has nothing to leave out. Of other languages only
comment lines are known: whole lines that begin with the mark. What is left of a piece that parses does parse.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cgcli.program.program import CODING
from cgcli.program.split import lines_of

_LONE_RETURN = re.compile(r"\r(?!\n)")
_NOT_UNICODE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Cut:
    """Characters begin to end - 1 of a text, and what stands in their place."""

    begin: int
    end: int
    instead: str = ""


@dataclass(frozen=True)
class Body:
    """All of a function but its signature and docstring. name: with that of its classes; lines: how many it has."""

    name: str
    lines: int
    cut: Cut


@dataclass(frozen=True)
class Foldable:
    """In the order of the text."""

    comments: tuple[Cut, ...] = ()
    bodies: tuple[Body, ...] = ()


def foldable(text: str, language: str, mark: str, *, first: bool, open_end: bool) -> Foldable:
    """What may be left out of `text`.

    mark: begins a comment; first: the program begins here, perhaps with an interpreter and a coding line, which stay;
    open_end: the text is to be continued, so its last statement stays, and what follows that.
    """
    found = _of_python(text) if language == "python" else _of_lines(text, mark)
    if found is None:
        return Foldable()
    comments, bodies, last = found
    keep = _head(text) if first else 0
    stop = last if open_end else len(text)
    return Foldable(
        tuple(cut for cut in comments if keep <= cut.begin and cut.end <= stop),
        tuple(body for body in bodies if body.cut.end <= stop),
    )


def without(text: str, cuts: Iterable[Cut]) -> str:
    """`text` with what stands in the place of `cuts`; one that lies in another goes with it."""
    pieces, at = [], 0
    for cut in sorted(cuts, key=lambda cut: cut.begin):
        if cut.begin >= at:
            pieces += [text[at : cut.begin], cut.instead]
            at = cut.end
    return "".join([*pieces, text[at:]])


_Found = tuple[list[Cut], list[Body], int]
"""Comments, bodies, and where the last statement begins."""


def _head(text: str) -> int:
    """Where the comments begin that are no interpreter or coding line."""
    end = 0
    for number, line in enumerate(lines_of(text)[:2]):
        if not (number == 0 and line.startswith("#!")) and not CODING.match(line):
            break
        end += len(line)
    return end


def _of_lines(text: str, mark: str) -> _Found:
    comments, last, at = [], 0, 0
    for line in lines_of(text):
        if line.lstrip().startswith(mark):
            comments.append(Cut(at, at + len(line)))
        elif line.strip():
            last = at
        at += len(line)
    return comments, [], last


def _of_python(text: str) -> _Found | None:
    # As many characters as there are, so that places are the same; Python reads neither a byte order mark nor what is
    # not Unicode (which may stand in a string or a comment), and a lone carriage return ends lines for half of it.
    legible = _NOT_UNICODE.sub("?", text)
    legible = "\f" + legible[1:] if legible.startswith("\ufeff") else legible
    if _LONE_RETURN.search(legible):
        return None
    try:
        with warnings.catch_warnings():  # of a model's escape sequences
            warnings.simplefilter("ignore")
            tree = ast.parse(legible)
        tokens = list(tokenize.generate_tokens(io.StringIO(legible).readline))
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        return None
    lines = _Lines(legible)
    comments = [lines.comment(*token.start, token.string) for token in tokens if token.type == tokenize.COMMENT]
    bodies = [body for name, function in _functions(tree) if (body := lines.body(name, function))]
    return comments, bodies, lines.begin(tree.body[-1]) if tree.body else 0


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Those that lie in no other, with their names, in the order of the text."""
    found: list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]] = []
    todo: list[tuple[ast.AST, str]] = [(tree, "")]
    while todo:
        node, owner = todo.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                found.append((owner + child.name, child))
            elif isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
                todo.append((child, f"{owner}{child.name}." if isinstance(child, ast.ClassDef) else owner))
    return iter(sorted(found, key=lambda one: (one[1].lineno, one[1].col_offset)))


class _Lines:
    """A text by lines, for what Python says about places in it: lines from 1; columns in characters, or UTF-8 bytes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._begins = [0, *(match.end() for match in re.finditer("\n", text)), len(text)]

    def comment(self, line: int, column: int, comment: str) -> Cut:
        """The whole line, where there is nothing else on it; else with the blanks before."""
        begin, end = self._begins[line - 1], self._begins[line]
        code = self._text[begin : begin + column].rstrip(" \t\f")
        return Cut(begin + len(code), begin + column + len(comment)) if code else Cut(begin, end)

    def body(self, name: str, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Body | None:
        """None where there is nothing but a docstring, or no more than three dots."""
        statements = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
        if not statements:
            return None
        last = statements[-1]
        begin, end = self.begin(statements[0]), self._place(last.end_lineno or last.lineno, last.end_col_offset or 0)
        lines = self._text.count("\n", begin, end) + 1
        return Body(name, lines, Cut(begin, end, "...")) if end - begin > len("...") else None

    def begin(self, statement: ast.stmt) -> int:
        """Where a statement begins, its decorators included."""
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and statement.decorator_list:
            begin = self._begins[statement.decorator_list[0].lineno - 1]
            line = self._text[begin : self._text.index("\n", begin)]
            return begin + len(line) - len(line.lstrip(" \t\f"))
        return self._place(statement.lineno, statement.col_offset)

    def _place(self, line: int, column: int) -> int:
        """column: in bytes."""
        begin, end = self._begins[line - 1], self._begins[line]
        return begin + len(self._text[begin:end].encode()[:column].decode())
