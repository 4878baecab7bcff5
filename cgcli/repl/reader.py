"""Where the REPL's input comes from: a terminal (terminal.py), a dumb one (dumb.py), a pipe or a file (script.py)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Card:
    """A candidate as the chooser shows it: its title, one line of facts, its code; whether it stands already."""

    title: str
    facts: str
    code: str
    stands: bool = False


class Reader(Protocol):
    def read(self, default: str = "") -> str:
        """A prompt or a command as typed, perhaps of several lines, never blank. default: stands in the line already.

        Ctrl-C clears the line. Raises EOFError at the end.
        """
        ...

    def watching(self) -> AbstractContextManager[None]:
        """While the block runs, nobody reads: what is typed stays off the screen and is kept, Ctrl-C is a SIGINT.

        Meant to be held from one `read` to the next. `read`, `choose` and `edit` may be called in it.
        """
        ...

    def typed(self) -> str:
        """What was typed in `watching` since the last call: the `default` of the next `read`. Empty for scripts."""
        ...

    def choose(self, cards: Sequence[Card]) -> int | None:
        """The index of the card that the user takes; None where there is no one to ask, or no one taken."""
        ...

    def edit(self, text: str, suffix: str) -> str:
        """`text` as the user's editor leaves it, in a file of that suffix. Raises CgcliError; nothing is changed then.

        The editor is there for people: scripts get the error.
        """
        ...
