"""What became of a program that was run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal[
    "passed",
    "exception",
    "cpu time",
    "wall time",
    "memory",
    "output limit",
    "processes",
    "denied",
    "crash",
    "exit",
    "interrupted",
]


@dataclass(frozen=True)
class Verdict:
    """detail: one line for a person, control characters spelt out, "" where the outcome says all.

    stdout, stderr: as the program wrote them, cut at the policy's limit: not for a terminal as they are.
    seconds: on the clock; cpu_s: processor seconds of all its processes. unread: what was typed for it on a terminal,
    and it did not read.
    """

    outcome: Outcome
    detail: str
    stdout: bytes
    stderr: bytes
    seconds: float
    cpu_s: float
    unread: bytes = b""

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"

    def __str__(self) -> str:
        """One line for a person."""
        if self.outcome == "exception":
            return self.detail
        return f"{self.outcome}: {self.detail}" if self.detail else self.outcome
