"""Visible faults of a completion: what no working program contains, seen in its text alone.

Each of these functions looks at the program before a completion and at the completion's own text, nothing runs, and
each returns a `Fault` that says where the text must be cut. Only Python is judged, by the parser of the Python that
runs this.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import io
import itertools
import re
import tokenize
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

from cgcli.program.names import Names
from cgcli.program.source import legible, lines_of
from cgcli.program.statements import Lines, first_line, is_compound, outer_statements

GuardName = Literal["degenerate", "syntax", "names", "empty", "end"]


@dataclass(frozen=True)
class Fault:
    """A place where a text must be cut."""

    guard: GuardName
    at: int  # position in the text: what stands ends here
    reason: str  # a few words


# --- degenerate

_BAR = 88  # the longest bar in 1,500 library files has 84
_CYCLE = 24  # characters
_CYCLES = 4
_CYCLING = 80  # characters in all
_LINES = 4
_BLOCK = 8  # lines
_BLOCKS = 3

_BAR_PATTERN = re.compile(rf"([^\w\s]|_)\1{{{_BAR}}}")
_CYCLE_PATTERN = re.compile(
    rf"(?!(.)\1{{{_CYCLE - 1}}})(?:"  # not of equal characters
    + "|".join(
        rf"(?P<c{size}>.{{{size}}})(?P=c{size}){{{max(_CYCLES, -(-_CYCLING // size)) - 1}}}"
        for size in range(2, _CYCLE + 1)
    )
    + ")"
)


def looping(text: str, begin: int = 0) -> Fault | None:
    """A loop with which the text ends: in its last line, or in whole lines if it ends with a line end.

    It is a bar of more than 88 equal characters that are no letter, digit or blank, cut where it begins; a cycle of at
    most 24 characters, 4 times or more and 80 characters long, cut where its line begins; one line 4 times, or a block
    of 2 to 8 lines 3 times, in a row, cut after the first copy. Blank lines are no loop.

    begin: nothing before it belongs to a loop. Asked after every line, and every piece of one, it misses none.
    """
    line = max(text.rfind("\n", begin, len(text) - 1) + 1, begin)
    if bar := _BAR_PATTERN.search(text, line):
        return Fault("degenerate", bar.start(), f"a bar of {bar[1]!r}")
    if len(text) - line >= _CYCLING and (cycle := _CYCLE_PATTERN.search(text, line)):
        return Fault("degenerate", line, f"{cycle[cycle.lastgroup or 0]!r} repeats")
    if text.endswith("\n"):
        for size, run in _repeated(text, begin):
            if len(run) >= size * (_LINES if size == 1 else _BLOCKS):
                what = "a line repeats" if size == 1 else f"{size} lines repeat"
                return Fault("degenerate", len(text) - sum(map(len, run[size:])), what)
    return None


class BarEnd:
    """Ends a Python text at a bar inside a comment, of which it keeps 89 characters (see `engine.stops.Cutter`).

    What could follow on that line does nothing. before: the program before the text, which may end inside a string.
    """

    def __init__(self, before: str) -> None:
        self._before = before
        self._text = ""
        self._from = 0  # nothing before it can be the bar
        self.finished = False

    def feed(self, text: str) -> str:
        if self.finished:
            return ""
        seen, self._text = len(self._text), self._text + text
        while bar := _BAR_PATTERN.search(self._text, max(self._from, seen - _BAR)):
            self._from = bar.end()
            if _ends_in_comment(self._before + self._text[: bar.end()]):
                self.finished = True
                return self._text[seen : bar.end()]
        return text

    def finish(self) -> str:
        self.finished = True
        return ""


def _ends_in_comment(source: str) -> bool:
    """Whether a text ends inside a comment; False where Python's tokenizer does not get so far."""
    tokens = tokenize.generate_tokens(io.StringIO(legible(source)).readline)
    last, inside = source.count("\n") + 1, False
    with contextlib.suppress(tokenize.TokenError, SyntaxError):  # the end of an unfinished text
        for token in itertools.takewhile(lambda one: one.type != tokenize.ERRORTOKEN, tokens):
            inside |= token.type == tokenize.COMMENT and token.end[0] == last
    return inside


def repeated_from(text: str, begin: int = 0) -> int:
    """Where `looping` may yet cut whole lines of a text that goes on: after the first copy of what may be a loop."""
    end = text.rfind("\n") + 1
    return min((end - sum(map(len, run[size:])) for size, run in _repeated(text[:end], begin)), default=len(text))


def _repeated(text: str, begin: int) -> Iterator[tuple[int, list[str]]]:
    """The runs of repeated lines with which a text ends, as the number of lines that repeat and the run: the first copy
    and the lines after it, in which each is equal to the one so many lines before."""
    most = _BLOCK * _BLOCKS
    parts = text[begin:].rsplit("\n", most + 1)
    lines = [f"{line}\n" for line in parts[:-1]][-most:]
    for size in range(1, _BLOCK + 1):
        at = len(lines)
        while at > size and lines[at - 1] == lines[at - 1 - size]:
            at -= 1
        run = lines[max(at - size, 0) :]
        if at < len(lines) and any(line.strip() for line in run):
            yield size, run


# --- empty

_NOTHING = re.compile(r"[ \t\f]*(?:(?:pass|\.\.\.)[ \t;]*)?(?:#.*)?\r?")


def is_empty(text: str) -> bool:
    """Whether a completion does nothing: it has only comments, `pass` and `...`."""
    return all(_NOTHING.fullmatch(line) for line in text.split("\n"))


# --- syntax

_INCOMPLETE = 0x4000  # PyCF_ALLOW_INCOMPLETE_INPUT, as in `codeop`
_TOP_LEVEL = re.compile(r"^(?=[^\s#)\]}])", re.MULTILINE)
_BEFORE_CODE = re.compile(r"(?:[ \t\f]*(?:#[^\r\n]*)?(?:\r\n?|\n))*")
_CLAUSE = re.compile(r"[ \t\f]|(?:elif|else|except|finally)\b")


#: A line in CPython's words, counted from the beginning of what was parsed.
_ITS_LINE = re.compile(r" \(detected at line \d+\)| on line \d+")


class _Reading(NamedTuple):
    """What CPython says of a text."""

    fault: Fault | None
    whole: int | None  # up to here it has whole statements; None if it ends inside one


class Syntax:
    """Whether a text can become Python behind the program `before`, and where its statements end.

    A text is judged by itself from its first line, so that a broken program before it is not its fault; where it goes
    on inside the last statement of the program, or inside its last line, together with that statement.
    """

    def __init__(self, before: str) -> None:
        self._before = legible(before)
        lines = Lines(self._before)
        head = self._before[: lines.begin(lines.number(len(before)))]  # its last line may be unfinished
        tree, begin = _parsed(head), _last_statement(head)
        self._sound = not isinstance(tree, SyntaxError)
        self._goes_on = tree is None or len(head) < len(before)
        self._base = None if begin is None else self._before[begin:]
        self._read = functools.cache(self._reading)

    @property
    def known(self) -> bool:
        """Whether every text can be judged. If not, the last statement of the program is broken, and only a text that
        begins at column 0 is."""
        return self._base is not None

    def dead(self, text: str) -> Fault | None:
        """The fault of a text that ends with a line end and can no longer become Python. It is cut where the line
        begins that CPython names."""
        return self._read(text).fault

    def ended(self, text: str) -> Fault | None:
        """The fault of a text that ends here, and with which the whole program does not compile."""
        base = self._base_of(text)
        if base is None:
            return None
        found, base = _judged(_compiled, self._before if self._sound else base, text)
        return _fault(found, base, text) if found else None

    def whole(self, text: str) -> int:
        """The position up to which a text has whole statements at its own indentation, that of its first one, or less.

        A simple statement is whole where its line ends, one with a block when the next statement has begun.
        """
        end = text.rfind("\n") + 1
        while end > 0:
            whole = self._read(text[:end]).whole
            if whole is not None:
                return whole
            end = text.rfind("\n", 0, end - 1) + 1
        return 0

    def compiles_up_to(self, text: str) -> int:
        """The last line end at which the program compiles; 0 if there is none."""
        end = text.rfind("\n") + 1
        while end > 0 and (self._base_of(text) is None or self.ended(text[:end])):
            end = text.rfind("\n", 0, end - 1) + 1
        return end

    def _base_of(self, text: str) -> str | None:
        """What is parsed before the text; None if nothing can be said."""
        code = _BEFORE_CODE.match(text)
        return self._base if self._goes_on or _CLAUSE.match(text, code.end() if code else 0) else ""

    def _reading(self, text: str) -> _Reading:
        base = self._base_of(text)
        if base is None:
            return _Reading(None, len(text))
        found, base = _judged(_parsed, base, text)
        if isinstance(found, ast.Module):
            compiled = _compiled(base + text)
            if not compiled or "nonlocal" in compiled.msg:  # a later line may bind it
                return _Reading(None, _whole(found, base, text))
            found = compiled  # such as `return` outside a function
        return _Reading(_fault(found, base, text) if found else None, None)


_Found = TypeVar("_Found")


def _judged(judge: Callable[[str], _Found], base: str, text: str) -> tuple[_Found, str]:
    """The judgement on a text behind `base`, and that base; on the text alone, and "", if the base has a fault."""
    found = judge(base + text)
    if isinstance(found, SyntaxError):
        lines = Lines(base + text)
        if lines.begin(_named(found, lines) + 1) <= len(base):
            return judge(text), ""
    return found, base


def _fault(error: SyntaxError, base: str, text: str) -> Fault:
    lines = Lines(base + text)
    return Fault("syntax", max(lines.begin(_named(error, lines)) - len(base), 0), _ITS_LINE.sub("", error.msg))


def _named(error: SyntaxError, lines: Lines) -> int:
    """The line that CPython names, the last one with code at most."""
    return min(error.lineno or lines.last, lines.last)


def _parsed(source: str) -> ast.Module | SyntaxError | None:
    """The tree of a text, or why it can never become Python; None if it may go on, or if nothing can be said."""
    found = _compile(source, ast.PyCF_ONLY_AST | _INCOMPLETE)
    return found if isinstance(found, ast.Module | SyntaxError) else None


def _compiled(source: str) -> SyntaxError | None:
    """Why a whole text does not compile; None if it does, or if nothing can be said."""
    found = _compile(source, 0)
    return found if isinstance(found, SyntaxError) else None


def _compile(source: str, flags: int) -> object:
    if "\0" in source:
        return None
    try:
        with warnings.catch_warnings():  # about escape sequences
            warnings.simplefilter("ignore")
            return compile(source, "<completion>", "exec", flags, dont_inherit=True)
    except SyntaxError as error:
        return None if error.msg == "incomplete input" or error.msg.startswith("Exceeds the limit") else error
    except (ValueError, MemoryError, RecursionError, OverflowError):
        return None  # CPython could not read it


def _last_statement(program: str) -> int | None:
    """Where the last top-level statement of a program begins, which may be unfinished; None if it is broken."""
    begin = 0
    while True:
        part = program[begin:]
        tree = _parsed(part)
        if isinstance(tree, ast.Module):
            return begin + Lines(part).begin(first_line(tree.body[-1])) if tree.body else len(program)
        if tree is None:
            return begin + next(filter(functools.partial(_splits, part), reversed(_top_level(part))), 0)
        behind = Lines(part).begin((tree.lineno or 1) + 1)
        following = next((at for at in _top_level(part) if at >= behind), None)
        if following is None:
            return None
        begin += following


def _top_level(text: str) -> list[int]:
    """Where top-level statements may begin."""
    return [match.start() for match in _TOP_LEVEL.finditer(text)]


def _splits(text: str, at: int) -> bool:
    """Whether a statement begins here."""
    return isinstance(_parsed(text[:at]), ast.Module) and not isinstance(_parsed(text[at:]), SyntaxError)


def _whole(tree: ast.Module, base: str, text: str) -> int:
    lines = Lines(base + text)
    statements = outer_statements(tree, lines.number(len(base)))
    if statements and is_compound(statements[-1]):
        statements.pop()
    return lines.begin((statements[-1].end_lineno or 0) + 1) - len(base) if statements else 0


# --- all of them


def visible_fault(before: str, text: str, *, stub: bool = False) -> Fault | None:
    """The first fault of a whole completion behind the program `before`; None if none is visible.

    A name that an import would define is none. stub: the prompt asks for nothing, so that `pass` answers it.
    """
    syntax = Syntax(before)
    end = 0
    for line in lines_of(text):
        end += len(line)
        so_far = text[:end]
        if fault := looping(so_far) or (syntax.dead(so_far) if line.endswith("\n") else None):
            return fault
    if fault := syntax.ended(text):
        return fault
    for missing in Names(before).missing(text):
        if not missing.cure:
            return Fault("names", missing.at, f"{missing.name} is not defined")
    return Fault("empty", 0, "no statement") if is_empty(text) and not stub else None


_STUB = re.compile(r"\b(pass|stubs?|placeholders?)\b", re.IGNORECASE)


def asks_for_stub(prompt: str | None) -> bool:
    """Whether a prompt asks for code that does nothing, so that `pass` answers it."""
    return bool(_STUB.search(prompt or ""))
