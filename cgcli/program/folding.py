"""Folds a program that exceeds the context window: the model reads it without comments and old function bodies.

Comments go first, from the oldest turn to the newest; the text before the turns counts as the oldest. Then go the
bodies of functions and methods, which keep their signatures and docstrings. Imports, other statements and the prompt
stay. Only the model's copy changes, never the program.

A fold must not change with every turn, since the model reads everything after a change again. So folding replays the
turns in order. Where a turn did not fit, it folds enough to free a quarter of the window, and that stays folded. With
a quarter, the model reads a token of a long program about 2.5 times again (in a window of 2,048 tokens); with an
eighth, 6 times. A half would remove too much.

ast and tokenize parse Python; a part that does not parse stays whole. In other languages only comment lines can be
folded. A part that parses still parses after folding.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from cgcli.core.errors import ContextError
from cgcli.program.program import CODING, Program
from cgcli.program.source import encode, legible, lines_of
from cgcli.terminal.text import plural

_LONE_RETURN = re.compile(r"\r(?!\n)")

Count = Callable[[bytes], int]
"""Counts the tokens of a text."""

_STEP = 4  # a fold makes room for the window / _STEP


@dataclass(frozen=True)
class Fold:
    """A folded program."""

    whole: str  # the program's source
    text: str  # what the model reads
    parts: tuple[str, ...]  # descriptions of the folded parts
    saved: int  # tokens that the model need not read
    reread: int = 0  # tokens of `text` that are not cached

    @property
    def summary(self) -> str:
        """The parts in one line: the first three, and the number of the others."""
        some, more = "; ".join(self.parts[:3]), len(self.parts) - 3
        return f"{some} and {more} more" if more > 0 else some

    def diff(self) -> list[str]:
        """Lines of a unified diff, without line ends, from the program to what the model reads."""
        before, after = self.whole.splitlines(), self.text.splitlines()
        import difflib

        return list(difflib.unified_diff(before, after, "program", "as the model reads it", lineterm=""))


def fold(
    program: Program, prompt: str | None, keep: str, *, language: str, count: Count, limit: int, window: int
) -> Fold | None:
    """Fold a program that is too long before `prompt` and `keep`, the completion prefix; None if nothing can be folded.

    limit: tokens that the context should have at most; some programs cannot be folded so far. Raises ContextError if
    the window then has no room for a single token.
    """
    asked = encode(program.opening(prompt) + keep)
    tokens = count(encode(program.source()) + asked)
    parts = list(_parts(program))
    folding = _Folding(parts, program, language, count, open_end=prompt is None)
    openings = [encode(part.opening) for part in parts[1:]] + [asked]
    for number, opening in enumerate(openings, 1):
        size = count(opening)
        if folding.size(number) + size > limit:
            folding.shrink(number, limit - size, step=window // _STEP)
    while (left := count(encode(folding.text) + asked)) > limit and folding.more():
        pass  # pieces that were counted one by one may have more tokens together
    if left >= window and not folding.descriptions:
        raise ContextError(
            f"the program and prompt have {tokens} tokens, but the context window has {window}",
            hint="use a larger --ctx, or a shorter program or prompt",
        )
    if left >= window:
        raise ContextError(
            f"the program and prompt have {tokens} tokens, {left} without comments and function bodies; "
            f"the context window has {window}",
            hint="use a larger --ctx, or move finished code into a module and import it",
        )
    return Fold(program.source(), folding.text, folding.descriptions, tokens - left) if folding.descriptions else None


@dataclass(frozen=True)
class _Part:
    """A part of a program: the text before the turns, or a turn."""

    name: str
    text: str
    opening: str  # the text before the completion


def _parts(program: Program) -> Iterator[_Part]:
    """The parts of a program. A turn without a prompt belongs to the part that it continues."""
    source = program.source()
    begin, code, name = 0, 0, "prefix"
    for number, (turn, span) in enumerate(zip(program.turns, program.spans(), strict=True), 1):
        if turn.prompt is not None:
            yield _Part(name, source[begin : span.begin], source[begin:code])
            begin, code, name = span.begin, span.code, f"turn {number}"
    yield _Part(name, source[begin:], source[begin:code])


@dataclass(frozen=True)
class _Item:
    """A part's comments, or the body of a function: folded as a whole."""

    description: str
    part: int  # index
    cuts: tuple[Cut, ...]  # in the part's text
    saves: int  # tokens


class _Folding:
    """The parts, and the items folded so far. Sizes are in tokens, counted piece by piece."""

    def __init__(
        self, parts: Sequence[_Part], program: Program, language: str, count: Count, *, open_end: bool
    ) -> None:
        self._texts = [part.text for part in parts]
        self._sizes = [count(encode(text)) if text else 0 for text in self._texts]
        self._done: list[_Item] = []
        comments, bodies = [], []
        dots = count(b"...")
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            found = foldable(
                part.text, language, program.layout.mark or "", first=index == 0, open_end=open_end and last
            )
            size = self._sizes[index]
            if found.comments:
                left = count(encode(without(part.text, found.comments)))
                comments.append(_Item(f"{part.name}: comments", index, found.comments, size - left))
            for body in found.bodies:
                saves = count(encode(_bare(part.text, body.cut, found.comments))) - dots
                lines = plural(body.lines, "line")
                bodies.append(_Item(f"{part.name}: body of {body.name} ({lines})", index, (body.cut,), saves))
        self._items = [item for item in (*comments, *bodies) if item.saves > 0]

    @property
    def text(self) -> str:
        cuts: list[list[Cut]] = [[] for _ in self._texts]
        for item in self._done:
            cuts[item.part] += item.cuts
        return "".join(map(without, self._texts, cuts))

    @property
    def descriptions(self) -> tuple[str, ...]:
        return tuple(item.description for item in self._done)

    def size(self, parts: int) -> int:
        """Tokens of the first `parts` parts."""
        return sum(self._sizes[:parts])

    def shrink(self, parts: int, most: int, step: int) -> None:
        """Fold the first `parts` parts until they have `step` tokens less than `most`. If that is impossible, fold them
        only to `most`: every turn then needs another fold, but recent code is worth more."""
        items = [item for item in self._items if item.part < parts]
        least = self.size(parts) - sum(item.saves for item in items)
        goal = most - step if least <= most - step else most
        for item in items:
            if self.size(parts) <= goal:
                break
            self._fold(item)

    def more(self) -> bool:
        """Fold the next item of any part; False if none is left."""
        if self._items:
            self._fold(self._items[0])
            return True
        return False

    def _fold(self, item: _Item) -> None:
        self._items.remove(item)
        self._done.append(item)
        self._sizes[item.part] -= item.saves


def _bare(text: str, body: Cut, comments: Sequence[Cut]) -> str:
    """A body without its comments, which are folded earlier."""
    inside = [cut for cut in comments if body.begin <= cut.begin and cut.end <= body.end]
    return without(text[body.begin : body.end], [Cut(cut.begin - body.begin, cut.end - body.begin) for cut in inside])


@dataclass(frozen=True)
class Cut:
    """Characters `begin` to `end` - 1 of a text, and their replacement."""

    begin: int
    end: int
    instead: str = ""


@dataclass(frozen=True)
class Body:
    """A function without its signature and docstring."""

    name: str  # with the names of its classes
    lines: int  # number
    cut: Cut


@dataclass(frozen=True)
class Foldable:
    """The comments and bodies that can be folded, in the order of the text."""

    comments: tuple[Cut, ...] = ()
    bodies: tuple[Body, ...] = ()


def foldable(text: str, language: str, mark: str, *, first: bool, open_end: bool) -> Foldable:
    """Find the comments and bodies of `text` that can be folded.

    mark: begins a comment. first: the program begins here; interpreter and coding lines stay. open_end: a completion
    continues the text, so its last statement and everything after it stay.
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
    """`text` with the cuts applied; a cut inside another goes with it."""
    pieces, at = [], 0
    for cut in sorted(cuts, key=lambda cut: cut.begin):
        if cut.begin >= at:
            pieces += [text[at : cut.begin], cut.instead]
            at = cut.end
    return "".join([*pieces, text[at:]])


_Found = tuple[list[Cut], list[Body], int]
"""Comments, bodies, and the position of the last statement."""


def _head(text: str) -> int:
    """The position after the interpreter and coding lines."""
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
    source = legible(text)
    if _LONE_RETURN.search(source):
        return None  # Python's parts disagree whether it ends a line
    try:
        with warnings.catch_warnings():  # about escape sequences
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        return None
    lines = _Lines(source)
    comments = [lines.comment(*token.start, token.string) for token in tokens if token.type == tokenize.COMMENT]
    bodies = [body for name, function in _functions(tree) if (body := lines.body(name, function))]
    return comments, bodies, lines.begin(tree.body[-1]) if tree.body else 0


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """The functions that are not inside another, with their names, in the order of the text."""
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
    """A text by lines, to translate Python's positions: lines from 1; columns in characters, or UTF-8 bytes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._begins = [0, *(match.end() for match in re.finditer("\n", text)), len(text)]

    def comment(self, line: int, column: int, comment: str) -> Cut:
        """The whole line if it has nothing else, otherwise the comment and the blanks before it."""
        begin, end = self._begins[line - 1], self._begins[line]
        code = self._text[begin : begin + column].rstrip(" \t\f")
        return Cut(begin + len(code), begin + column + len(comment)) if code else Cut(begin, end)

    def body(self, name: str, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Body | None:
        """The body of a function; None if it has only a docstring, or is not longer than three dots."""
        statements = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
        if not statements:
            return None
        last = statements[-1]
        begin, end = self.begin(statements[0]), self._place(last.end_lineno or last.lineno, last.end_col_offset or 0)
        lines = self._text.count("\n", begin, end) + 1
        return Body(name, lines, Cut(begin, end, "...")) if end - begin > len("...") else None

    def begin(self, statement: ast.stmt) -> int:
        """The position of a statement, including its decorators."""
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and statement.decorator_list:
            begin = self._begins[statement.decorator_list[0].lineno - 1]
            line = self._text[begin : self._text.index("\n", begin)]
            return begin + len(line) - len(line.lstrip(" \t\f"))
        return self._place(statement.lineno, statement.col_offset)

    def _place(self, line: int, column: int) -> int:
        """The position of a line and a column in bytes."""
        begin, end = self._begins[line - 1], self._begins[line]
        return begin + len(self._text[begin:end].encode()[:column].decode())
