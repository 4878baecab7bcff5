"""How long work reports itself, without knowing where the report goes.

Library code takes a `Progress`; the command line gives one that draws on stderr (`cgcli.terminal.output`), tests give
`Silent` or a recorder.
"""

from __future__ import annotations

from typing import Literal, Protocol, Self

Unit = Literal["bytes", "steps", "samples"]


class Task(Protocol):
    """One thing under way; a context manager, finished or abandoned when the block ends."""

    def advance(self, amount: int) -> None: ...

    def say(self, state: str) -> None:
        """What else is to be seen beside how far it is, such as a score so far."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


class Progress(Protocol):
    def task(self, label: str, total: int | None, *, unit: Unit = "bytes", done: int = 0) -> Task:
        """Start a task of `total` units, `done` of which were there before (a resumed download)."""
        ...

    def note(self, message: str) -> None:
        """One line that stays."""
        ...


class Silent:
    """Progress that nobody watches."""

    def task(self, label: str, total: int | None, *, unit: Unit = "bytes", done: int = 0) -> Silent:
        return self

    def note(self, message: str) -> None: ...

    def advance(self, amount: int) -> None: ...

    def say(self, state: str) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None: ...
