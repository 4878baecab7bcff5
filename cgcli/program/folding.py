"""What a model reads of a program that is too long for its window: the program without its comments and old bodies.

Comments go first, the oldest turn's before the next one's (what is before the turns counts as the oldest); then the
bodies of functions and methods, which leave their signatures and docstrings. Imports and other statements stay, and so
does what is being asked. Only what is read changes, never the program.

What is folded must not change with every turn, since all that follows a change is read again. So a program is gone
through turn by turn as it was written: where a turn did not fit, as much was folded as makes room for a quarter of the
window, and that stays folded. With a quarter, a token of a long program is read some 2.5 times again in all (what is
kept of a window of 2,048 tokens, over a quarter of it); with an eighth 6 times, and a half would forget too much.
"""

from __future__ import annotations

import ast
import difflib
import io
import re
import tokenize
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from cgcli.core.errors import ContextError
from cgcli.core.units import plural
from cgcli.program.program import CODING, Program
from cgcli.program.source import encode, lines_of

_LONE_RETURN = re.compile(r"\r(?!\n)")
_NOT_UNICODE = re.compile("[\ud800-\udfff]")

Count = Callable[[bytes], int]
"""The tokens of a text."""

_STEP = 4  # a fold makes room for the window / _STEP


@dataclass(frozen=True)
class Fold:
    """What is read of a program. whole: its source; text: that as it is read; parts: what is left out, in words.

    saved: tokens that it takes less; reread: tokens of it to be read, since the cache has others, or nothing, there.
    """

    whole: str
    text: str
    parts: tuple[str, ...]
    saved: int
    reread: int = 0

    @property
    def summary(self) -> str:
        """The parts in one line, for a terminal: the first of them, and how many more there are."""
        some, more = "; ".join(self.parts[:3]), len(self.parts) - 3
        return f"{some} and {more} more" if more > 0 else some

    def diff(self) -> list[str]:
        """Lines of a unified diff, without line ends, from the program to what is read of it."""
        before, after = self.whole.splitlines(), self.text.splitlines()
        return list(difflib.unified_diff(before, after, "program", "as the model reads it", lineterm=""))


def fold(
    program: Program, prompt: str | None, keep: str, *, language: str, count: Count, limit: int, window: int
) -> Fold | None:
    """What is read of a program that is too long, before `prompt` and `keep`, the beginning of its completion.

    limit: tokens that the whole should have, which is more than it can be folded to in some. None where nothing can be
    left out. Raises ContextError where what is left leaves no room in the window for a single token.
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
    if left >= window:
        raise ContextError(
            f"the program and prompt are {tokens} tokens, {left} without comments and bodies, the window has {window}",
            hint="a larger --ctx, or move what is done into a module and import it",
        )
    return Fold(program.source(), folding.text, folding.said, tokens - left) if folding.said else None


@dataclass(frozen=True)
class _Part:
    """A piece of a program: what is before the turns, or a turn. opening: what of it comes before the completion."""

    name: str
    text: str
    opening: str


def _parts(program: Program) -> Iterator[_Part]:
    """A turn without a prompt belongs to the part that it continues."""
    source = program.source()
    begin, code, name = 0, 0, "prefix"
    for number, (turn, span) in enumerate(zip(program.turns, program.spans(), strict=True), 1):
        if turn.prompt is not None:
            yield _Part(name, source[begin : span.begin], source[begin:code])
            begin, code, name = span.begin, span.code, f"turn {number}"
    yield _Part(name, source[begin:], source[begin:code])


@dataclass(frozen=True)
class _Item:
    """What can be left out at once: in words, of which part, where in its text, how many tokens it saves there."""

    said: str
    part: int
    cuts: tuple[Cut, ...]
    saves: int


class _Folding:
    """Parts with what is left out of them so far; sizes in tokens, each piece counted by itself."""

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
    def said(self) -> tuple[str, ...]:
        return tuple(item.said for item in self._done)

    def size(self, parts: int) -> int:
        """Of the first so many parts."""
        return sum(self._sizes[:parts])

    def shrink(self, parts: int, most: int, step: int) -> None:
        """Fold the first so many parts until they have `step` tokens less than `most`; where there is not so much in
        them, only until they have no more: every turn then needs another fold, and what is new is worth more."""
        items = [item for item in self._items if item.part < parts]
        least = self.size(parts) - sum(item.saves for item in items)
        goal = most - step if least <= most - step else most
        for item in items:
            if self.size(parts) <= goal:
                break
            self._fold(item)

    def more(self) -> bool:
        """Fold what comes next, wherever it is; False where nothing is left."""
        if self._items:
            self._fold(self._items[0])
            return True
        return False

    def _fold(self, item: _Item) -> None:
        self._items.remove(item)
        self._done.append(item)
        self._sizes[item.part] -= item.saves


def _bare(text: str, body: Cut, comments: Sequence[Cut]) -> str:
    """A body without the comments in it, which go before it does."""
    inside = [cut for cut in comments if body.begin <= cut.begin and cut.end <= body.end]
    return without(text[body.begin : body.end], [Cut(cut.begin - body.begin, cut.end - body.begin) for cut in inside])


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
