"""Judging samples of MTPB: each is run in the sandbox, and what it printed last is compared outside it.

No sample sees the value that is expected of it. Processor time decides; the paper's 20 s are on the clock.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cgcli.evals.equality import Printed, RulesName, equal
from cgcli.evals.judging import timed
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.verdict import Outcome, Verdict

SECONDS = 20.0
_GRACE_S = 3.0
"""For the interpreter's start, numpy's import, and telling the value, beside the program's own time."""


@dataclass(frozen=True)
class Judged:
    """outcome: `passed`, `wrong answer`, `no print`, or why the program failed. detail: one line, may be empty."""

    outcome: Outcome | str
    detail: str
    seconds: float

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"


def policy(seconds: float = SECONDS) -> Policy:
    """seconds: of processor time for the program itself."""
    return timed(seconds + _GRACE_S)


@dataclass(frozen=True)
class Trial:
    """A program to run, and what is expected of it. mark: what its own output cannot know, in a sandbox of its own."""

    program: str
    expected: Any
    mark: str

    @classmethod
    def of(cls, program: str, expected: Any) -> Trial:
        return cls(program, expected, f"\n{secrets.token_hex(16)} ")

    def source(self, seconds: float = SECONDS) -> bytes:
        """What the sandbox is to run."""
        words = (self.program, type(self.expected).__name__, seconds, self.mark)
        return f"{_teller()}\n\ntell({', '.join(map(ascii, words))})\n".encode()

    def judge(self, verdict: Verdict, rules: RulesName) -> Judged:
        """From how that went."""
        outcome, detail = self._judged(verdict, rules)
        return Judged(outcome, detail, verdict.seconds)

    def _judged(self, verdict: Verdict, rules: RulesName) -> tuple[str, str]:
        words = verdict.stdout.rpartition(self.mark.encode())[2] if self.mark.encode() in verdict.stdout else b""
        if not verdict.passed:
            return verdict.outcome, verdict.detail
        try:
            printed = Printed.told(words)
        except ValueError:
            return "exit", "it ended before its end"
        if equal(printed, self.expected, rules):
            return "passed", ""
        if printed.ended in ("cpu time", "wall time"):
            return printed.ended, ""
        if printed.ended:
            return "exception", printed.ended
        return ("wrong answer", shown(printed)) if printed.printed else ("no print", "")


def shown(printed: Printed) -> str:
    """What was printed, for a person."""
    from cgcli.core.visible import visible

    return visible(f"{printed.type}: {printed.value!r}"[:200])


@cache
def _teller() -> str:
    return Path(__file__).with_name("last_print.py").read_text("utf-8")
