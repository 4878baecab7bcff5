"""The protocol of the REPL's readers, and the values that a reader shows around the input line.

`terminal.py` and `plain_terminal.py` have readers for a terminal, for one that cannot move its cursor, and for a pipe
or a file. A reader knows nothing of the REPL: each call hands it the view to show.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Status:
    """Values for the toolbar. Empty text, None and a window of 0 are left out."""

    model: str = ""
    quant: str = ""
    turn: int = 1  # the number, from 1, of the turn that the next prompt makes
    tokens: int = 0  # tokens of the context that the model would read
    window: int = 0  # context window in tokens
    tokens_per_s: float | None = None
    clarity: str = ""  # clear, fair or unclear
    perplexity: float | None = None  # of the last prompt
    branch: str = ""
    state: str = ""  # what is going on, such as `loading…`
    stale: int = 0  # number of stale turns


@dataclass(frozen=True)
class Suggestion:
    """A completion: the text before the cursor becomes `before_cursor[:start] + text`."""

    text: str
    start: int
    about: str = ""  # a short description


class View(Protocol):
    """The status and the completions that a reader shows while a line is typed."""

    @property
    def vi(self) -> bool:
        """Use vi key bindings instead of emacs."""
        ...

    def status(self) -> Status:
        """The current status. Called at every redraw, so it must be quick."""
        ...

    def completions(self, before_cursor: str) -> Iterable[Suggestion]: ...


@dataclass(frozen=True)
class CandidateCard:
    """A candidate as the chooser shows it."""

    title: str
    facts: str  # one line
    code: str
    accepted: bool = False  # it is the turn's code now
    number: int = 0  # the digit that selects it; 0: its position among the cards


@dataclass
class Lent:
    """Keyboard input lent to a program that runs."""

    descriptor: int
    unread: bytes = b""  # input that the program did not consume; set by whoever runs it


def is_command(line: str) -> bool:
    """Whether a line is a command: it begins with `/`. A prompt that begins with `/` is typed with `//`."""
    return line.startswith("/") and not line.startswith("//")


class Reader(Protocol):
    @property
    def where(self) -> str:
        """The place of the last input in a script, such as `line 3`; empty on a terminal."""
        ...

    def read(self, view: View, default: str = "") -> str:
        """Return the next prompt or command, never blank: a queued line, else one that is typed now.

        The line starts with what was typed in `watching` after the last Enter, else with `default`. Ctrl-C clears it.
        Raises EOFError at the end of input.
        """
        ...

    def reword(self, view: View, turn: int, text: str) -> str | None:
        """Let the user edit the prompt of a turn; None after Ctrl-C, an empty line or the end of input."""
        ...

    def refresh(self) -> None:
        """Redraw the status while a line is typed. May be called from any thread."""
        ...

    def watching(self) -> AbstractContextManager[None]:
        """Collect what is typed in the block: Enter queues a line for `read`, Ctrl-C raises SIGINT.

        Meant to be held between two calls of `read`. `read`, `choose` and `edit` may be called inside.
        """
        ...

    def drop(self) -> Sequence[str]:
        """Empty the queue; returns its lines, and those that Ctrl-C dropped in `watching`."""
        ...

    def lent(self) -> AbstractContextManager[Lent | None]:
        """Lend the keyboard to a program in the block: the terminal echoes and edits lines, Ctrl-C raises SIGINT.

        None if the input is not a terminal.
        """
        ...

    def choose(self, cards: Sequence[CandidateCard]) -> int | None:
        """Return the index of the card that the user takes; None if they take none, or nobody can be asked."""
        ...

    def shell(self, command: str, output: int) -> int:
        """Run a command in the user's shell, on the terminal; returns its status.

        output: the descriptor for what it prints. Raises CgcliError if it cannot be started; scripts always get that.
        """
        ...

    def edit(self, text: str, suffix: str) -> str:
        """Return `text` after the user edited it in their editor, in a file with this suffix.

        Raises CgcliError if there is no editor or it fails; scripts always get the error.
        """
        ...
