"""Where the REPL's input comes from: a terminal (terminal.py), a dumb one (dumb.py), a pipe or a file (script.py)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Card:
    """A candidate as the chooser shows it: its title, one line of facts, its code; whether it stands already.

    number: that it is chosen by; 0 for its place among the others.
    """

    title: str
    facts: str
    code: str
    stands: bool = False
    number: int = 0


@dataclass
class Lent:
    """What is typed on, for a program to read. unread: what came from it, and the program did not read; to be set."""

    descriptor: int
    unread: bytes = b""


def is_command(line: str) -> bool:
    """Whether a line is a command, and no prompt: it begins with a `/`. `//` begins a prompt with one."""
    return line.startswith("/") and not line.startswith("//")


class Reader(Protocol):
    @property
    def where(self) -> str:
        """Where the last input stands in a script, such as `line 3`; empty where somebody types."""
        ...

    def read(self, default: str = "") -> str:
        """A prompt or a command, perhaps of several lines, never blank: one that is queued, else as it is typed now.

        What was typed in `watching` behind the last Enter stands in the line already, else `default`. Ctrl-C clears the
        line. Raises EOFError at the end.
        """
        ...

    def reword(self, turn: int, text: str) -> str | None:
        """The prompt of a turn, which stands in the line already, as the user leaves it; None where nobody wants that.

        That is said with Ctrl-C, an empty line or the end of input.
        """
        ...

    def watching(self) -> AbstractContextManager[None]:
        """While the block runs, nobody reads: Enter queues a line for `read`, and says so; Ctrl-C is a SIGINT.

        Meant to be held from one `read` to the next. `read`, `choose` and `edit` may be called in it.
        """
        ...

    def drop(self) -> Sequence[str]:
        """Forget the lines that are queued; returns them, and those that Ctrl-C in `watching` dropped."""
        ...

    def lent(self) -> AbstractContextManager[Lent | None]:
        """While the block runs, what is typed is a program's: the terminal shows it and lets lines be edited, Ctrl-C is
        a SIGINT. None where nobody types.
        """
        ...

    def choose(self, cards: Sequence[Card]) -> int | None:
        """The index of the card that the user takes; None where there is no one to ask, or no one taken."""
        ...

    def edit(self, text: str, suffix: str) -> str:
        """`text` as the user's editor leaves it, in a file of that suffix. Raises CgcliError; nothing is changed then.

        The editor is there for people: scripts get the error.
        """
        ...
