"""Progress of long operations.

Library code takes a `Progress`. The command line passes one that draws on stderr (`cgcli.terminal.output`), tests pass
`Silent` or a recorder.
"""

from __future__ import annotations

from typing import Literal, Protocol, Self

Unit = Literal["bytes", "steps", "samples"]


class Task(Protocol):
    """Work in progress; a context manager. It has ended, well or not, when the block ends."""

    def advance(self, amount: int) -> None: ...

    def status(self, text: str) -> None:
        """Show a text, such as a score so far, beside the progress."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


class Progress(Protocol):
    def task(self, label: str, total: int | None, *, unit: Unit = "bytes", done: int = 0) -> Task:
        """Start a task of `total` units, of which `done` are done already, as in a resumed download."""
        ...

    def note(self, message: str) -> None:
        """Print a line that stays."""
        ...


class Silent:
    """Progress that is not shown."""

    def task(self, label: str, total: int | None, *, unit: Unit = "bytes", done: int = 0) -> Silent:
        return self

    def note(self, message: str) -> None: ...

    def advance(self, amount: int) -> None: ...

    def status(self, text: str) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None: ...
