"""The result of running a program."""

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
class Variable:
    """A name at the top level of a program, as it was at its end."""

    name: str
    kind: str  # its type
    value: str  # short


@dataclass(frozen=True)
class Verdict:
    """How a program ended, what it wrote and what it used."""

    outcome: Outcome
    detail: str  # one line for the user, control characters escaped; "" if the outcome says everything
    stdout: bytes  # as written, cut at the policy's limit; not safe to print on a terminal
    stderr: bytes  # likewise
    wall_s: float  # elapsed seconds
    cpu_s: float  # processor seconds of all its processes
    unread: bytes = b""  # input typed on a terminal that the program did not read
    status: int = 0  # exit status, or minus the signal
    called_exit: bool = False  # reached its end by `sys.exit(0)` or the like, not by running past its last line
    checks_passed: int = 0  # how many of the checks passed
    line: int = 0  # of the program's own text where it was left: by an exception or `sys.exit(1)`; 0 if unknown
    statement: int = 0  # a line of the top-level statement that was running then; 0 if unknown
    variables: tuple[Variable, ...] = ()  # if the policy asks for them

    @property
    def passed(self) -> bool:
        """Whether it reached its end without an error, and all checks passed there (see run.py)."""
        return self.outcome == "passed"

    @property
    def ran(self) -> bool:
        """Whether it reached its end without an error, whatever the checks say."""
        return self.outcome in ("passed", "check")

    @property
    def silent(self) -> bool:
        """Whether it printed nothing, so that its output shows nothing about it."""
        return not self.stdout.strip()

    def __str__(self) -> str:
        """One line for the user. A pass is only "ran": nobody has checked the program's output."""
        if self.passed:
            return "ran"
        if self.outcome in ("exception", "check"):
            return self.detail
        words = "stopped" if self.outcome in ("cpu time", "wall time") else self.outcome
        return f"{words}: {self.detail}" if self.detail else words
