"""A part of a benchmark's tasks, for a machine of several: every N-th. What the machines drew is joined with `cat`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from cgcli.core.errors import UsageError

TaskT = TypeVar("TaskT")


@dataclass(frozen=True)
class Shard:
    """The part `number` (from 1) of `count`."""

    number: int
    count: int

    @classmethod
    def parse(cls, words: str) -> Shard:
        """From `I/N`. Raises UsageError."""
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", words)
        number, count = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= number <= count:
            raise UsageError(f"--shard is {words!r}", hint="the parts of three are --shard 1/3, 2/3 and 3/3")
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def suffix(self) -> str:
        """What tells its files from those of the other parts."""
        return f".{self.number}-of-{self.count}"

    def part(self, tasks: Iterable[TaskT]) -> list[TaskT]:
        """Its tasks: no other part has them, and all parts together have all."""
        return list(islice(tasks, self.number - 1, None, self.count))
