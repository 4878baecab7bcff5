"""A `Progress` that remembers."""

from __future__ import annotations

from typing import Self

from cgcli.core.progress import Unit


class Bar:
    def __init__(self, label: str, total: int | None, done: int) -> None:
        self.label, self.total, self.done, self.ended = label, total, done, False

    def advance(self, amount: int) -> None:
        self.done += amount

    def status(self, text: str) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.ended = True


class Recorder:
    """notes: every line; bars: every task with what it came to."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.bars: list[Bar] = []

    def task(self, label: str, total: int | None, *, unit: Unit = "bytes", done: int = 0) -> Bar:
        self.bars.append(Bar(label, total, done))
        return self.bars[-1]

    def note(self, message: str) -> None:
        self.notes.append(message)
