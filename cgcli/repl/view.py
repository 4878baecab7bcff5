"""What a reader shows and offers around the line that is typed, without knowing where it comes from.

Made by the REPL's state, read by the terminal: for the toolbar, and for completion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Status:
    """What the toolbar says; empty text, None and 0 of a window are left out.

    turn: the number that the next prompt's turn gets, from 1; tokens: of the context that the model would read, of
    `window`; clarity: the word for the last prompt's `perplexity` (clear, fair, unclear); state: what is under way,
    such as `loading…`, or empty; stale: how many turns are.
    """

    model: str = ""
    quant: str = ""
    turn: int = 1
    tokens: int = 0
    window: int = 0
    tokens_per_s: float | None = None
    clarity: str = ""
    perplexity: float | None = None
    branch: str = ""
    state: str = ""
    stale: int = 0


@dataclass(frozen=True)
class Suggestion:
    """A completion: the line before the cursor becomes `before_cursor[:start] + text`. about: a word on it."""

    text: str
    start: int
    about: str = ""


class View(Protocol):
    """on_change: the reader sets it, and whoever changes the status while a line is typed calls it, on any thread."""

    on_change: Callable[[], None]

    @property
    def vi(self) -> bool:
        """Whether the keys are vi's, else emacs'."""
        ...

    def status(self) -> Status:
        """The state of things now; asked for at every drawing, so it must be quick."""
        ...

    def completions(self, before_cursor: str) -> Iterable[Suggestion]: ...
