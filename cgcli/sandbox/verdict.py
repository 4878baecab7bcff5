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
    "check",
    "interrupted",
]


@dataclass(frozen=True)
class Verdict:
    """detail: one line for a person, control characters spelt out, "" where the outcome says all.

    stdout, stderr: as the program wrote them, cut at the policy's limit: not for a terminal as they are.
    seconds: on the clock; cpu_s: processor seconds of all its processes. unread: what was typed for it on a terminal,
    and it did not read. status: its exit status, or minus the signal. left: it reached its end by leaving, as
    `sys.exit(0)` does, not behind its last line. held: how many of the checks held.
    """

    outcome: Outcome
    detail: str
    stdout: bytes
    stderr: bytes
    seconds: float
    cpu_s: float
    unread: bytes = b""
    status: int = 0
    left: bool = False
    held: int = 0

    @property
    def passed(self) -> bool:
        """Whether it reached its end without an error, and every check holds there: see judge.py."""
        return self.outcome == "passed"

    @property
    def ran(self) -> bool:
        """Whether it reached its end without an error, whatever the checks say."""
        return self.outcome in ("passed", "check")

    @property
    def silent(self) -> bool:
        """Whether it printed nothing: then nobody knows what it does."""
        return not self.stdout.strip()

    def __str__(self) -> str:
        """One line for a person. A program that printed what it liked has no more than run."""
        if self.passed:
            return "ran"
        if self.outcome in ("exception", "check"):
            return self.detail
        return f"{self.outcome}: {self.detail}" if self.detail else self.outcome
