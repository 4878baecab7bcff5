"""Readers without a line editor: for a terminal that only prints (TERM=dumb, an editor's shell), a pipe or a file."""

from __future__ import annotations

import codecs
import select
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import BinaryIO, TextIO

from cgcli.core.errors import CgcliError
from cgcli.native.interrupt import Interrupt
from cgcli.program.source import decode
from cgcli.repl.chooser import side_by_side
from cgcli.repl.reader import CandidateCard, View
from cgcli.repl.screen import Screen
from cgcli.repl.typeahead import Typeahead, TypeaheadReader

_TICK_S = 0.1
"""Interval for checking Ctrl-C while a command asks, since it does not interrupt a read then."""


def read_joined(next_line: Callable[[], bytes]) -> str:
    """Read a line and its continuations: a line that ends in a backslash continues (two of them are text).

    next_line: returns a line with its end, nothing at the end of input. Bytes that are not UTF-8 become lone
    surrogates. Raises EOFError at the end of input.
    """
    lines: list[str] = []
    while data := next_line():
        line = decode(data).rstrip("\r\n")
        if (len(line) - len(line.rstrip("\\"))) % 2 == 0:
            return "\n".join([*lines, line])
        lines.append(line[:-1])
    if not lines:
        raise EOFError
    return "\n".join(lines)


class PlainTerminal(TypeaheadReader):
    """A Reader for a terminal that cannot move its cursor.

    A default is shown in front of the line; the user can append to it, or clear it with Ctrl-C.
    """

    def __init__(self, screen: Screen, stdin: TextIO, variables: Mapping[str, str]) -> None:
        super().__init__(Typeahead(stdin.fileno(), queued=screen.queued), variables)
        self._screen = screen
        self._stdin = stdin.buffer
        self._sign = ""  # in front of each line
        self._begun = ""  # what the next line starts with

    def read(self, view: View, default: str = "") -> str:
        self._sign = f"{view.status().turn} > "
        with self._typeahead.paused():
            while True:
                self._begun = default
                try:
                    text = read_joined(self._line)
                except KeyboardInterrupt:
                    self._screen.say()
                    text = default = ""
                if text.strip():
                    return text

    def _line(self) -> bytes:
        """The next queued line, else one that is typed now; nothing at the end of input."""
        begun, self._begun = self._begun, ""
        if (line := self._typeahead.next()) is not None:
            self._screen.say(f"{self._sign}{line}")
            return line.encode("utf-8", "surrogateescape") + b"\n"
        begun = self._typeahead.half() or begun
        self._screen.ask(f"{self._sign}{begun}")
        typed = self._stdin.readline()
        return typed and begun.encode("utf-8", "surrogateescape") + typed

    def reword(self, view: View, turn: int, text: str) -> str | None:
        """Shows the old prompt and reads a new one."""
        with self._typeahead.paused():
            self._screen.say(text)
            self._screen.ask(f"edit {turn} > ")
            try:
                while not select.select([self._stdin], [], [], _TICK_S)[0]:
                    if Interrupt().requested:
                        raise KeyboardInterrupt
                words = read_joined(self._stdin.readline)
            except KeyboardInterrupt:
                Interrupt().clear()
                self._screen.say()
                return None
            except EOFError:
                return None
        return words if words.strip() else None

    def refresh(self) -> None:
        pass

    def choose(self, cards: Sequence[CandidateCard]) -> int | None:
        """Shows the cards; the user takes one later, with a command."""
        for line in side_by_side(cards, self._screen.width):
            self._screen.say(line)
        return None


class Script:
    """A Reader of a pipe or a file. Skips blank lines, ignores defaults, and asks nobody."""

    def __init__(self, stdin: BinaryIO) -> None:
        self._stdin = stdin
        self._lines = 0  # lines read so far
        self._first = 0  # number of the first line of the last input

    @property
    def where(self) -> str:
        return f"line {self._first}"

    def read(self, view: View, default: str = "") -> str:
        text = ""
        while not text.strip():
            self._first = self._lines + 1
            text = read_joined(self._line)
        return text

    def _line(self) -> bytes:
        self._lines += 1
        line = self._stdin.readline()
        return line.removeprefix(codecs.BOM_UTF8) if self._lines == 1 else line

    def reword(self, view: View, turn: int, text: str) -> str | None:
        return None

    def refresh(self) -> None:
        pass

    def watching(self) -> AbstractContextManager[None]:
        return nullcontext()

    def lent(self) -> AbstractContextManager[None]:
        return nullcontext()

    def drop(self) -> Sequence[str]:
        return ()

    def choose(self, cards: Sequence[CandidateCard]) -> int | None:
        return None

    def shell(self, command: str, output: int) -> int:
        raise CgcliError("a script cannot run shell commands", hint="run them before or after it")

    def edit(self, text: str, suffix: str) -> str:
        raise CgcliError("a script cannot open an editor", hint="/edit N WORDS changes a prompt")
