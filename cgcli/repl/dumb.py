"""A terminal that only prints (TERM=dumb, an editor's shell): lines as the terminal itself lets them be edited."""

from __future__ import annotations

import select
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TextIO

from cgcli.native.interrupt import Interrupt
from cgcli.repl.chooser import side_by_side
from cgcli.repl.editor import edit, undisturbed
from cgcli.repl.reader import Card, Lent
from cgcli.repl.screen import Screen
from cgcli.repl.script import read_joined
from cgcli.repl.typeahead import Typeahead
from cgcli.repl.view import View

_TICK_S = 0.1
"""Between two looks at whether Ctrl-C was pressed, where a command asks: it interrupts no read then."""


class Dumb:
    """A Reader. What stands in a line already is shown before it, and can be added to, or cleared with Ctrl-C."""

    where = ""

    def __init__(self, view: View, screen: Screen, stdin: TextIO, variables: Mapping[str, str]) -> None:
        self._view = view
        self._screen = screen
        self._stdin = stdin.buffer
        self._variables = variables
        self._begun = ""  # what stands in the line that is read next
        self._typeahead = Typeahead(stdin.fileno(), queued=screen.queued)

    def read(self, default: str = "") -> str:
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
        """A line that was queued, else one that is typed now behind what stands; nothing at the end of input."""
        sign = f"{self._view.status().turn} > "
        begun, self._begun = self._begun, ""
        if (line := self._typeahead.next()) is not None:
            self._screen.say(f"{sign}{line}")
            return line.encode("utf-8", "surrogateescape") + b"\n"
        begun = self._typeahead.half() or begun
        self._screen.ask(f"{sign}{begun}")
        typed = self._stdin.readline()
        return typed and begun.encode("utf-8", "surrogateescape") + typed

    def reword(self, turn: int, text: str) -> str | None:
        """The words that stand are shown, and new ones take their place."""
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

    def watching(self) -> AbstractContextManager[None]:
        return self._typeahead.watching()

    def lent(self) -> AbstractContextManager[Lent]:
        return self._typeahead.lent()

    def drop(self) -> Sequence[str]:
        return self._typeahead.drop()

    def choose(self, cards: Sequence[Card]) -> int | None:
        """Shows them; one is taken by a command, later."""
        for line in side_by_side(cards, self._screen.width):
            self._screen.say(line)
        return None

    def edit(self, text: str, suffix: str) -> str:
        with self._typeahead.paused(), undisturbed():
            return edit(text, suffix, self._variables)
