"""Judging samples of MTPB: each is run in the sandbox, and what it printed last is compared outside it.

No sample sees the value that is expected of it. Processor time decides; the paper's 20 s are on the clock.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from cgcli.core.errors import CgcliError
from cgcli.evals.equality import Printed, RulesName, equal
from cgcli.evals.judging import timed
from cgcli.evals.samples import Row
from cgcli.evals.verdicts import Result
from cgcli.program.program import digest
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.verdict import Verdict

SECONDS = 20.0
_GRACE_S = 3.0
"""For the interpreter's start, numpy's import, and telling the value, beside the program's own time."""


@dataclass(frozen=True)
class Rules:
    """name: how values are compared; seconds: of processor time for a program itself."""

    name: RulesName = "paper"
    seconds: float = SECONDS
    unsafe: bool = False

    @property
    def policy(self) -> Policy:
        return timed(self.seconds + _GRACE_S, unsafe=self.unsafe)


@dataclass(frozen=True)
class Question:
    """A `Trial`: a program, and what it is expected to print. mark: what comes before the value that it prints."""

    text: str
    expected: Any
    rules: Rules
    mark: str = field(default_factory=lambda: f"\n{secrets.token_hex(16)} ")

    @property
    def program(self) -> str:
        return digest(json.dumps([self.text, self.expected, self.rules.name, self.rules.seconds]))

    @property
    def source(self) -> bytes:
        words = (self.text, type(self.expected).__name__, self.rules.seconds, self.mark)
        return f"{_teller()}\n\ntell({', '.join(map(ascii, words))})\n".encode()

    @property
    def policy(self) -> Policy:
        return self.rules.policy

    def result(self, verdict: Verdict) -> Result:
        """From how that went."""
        outcome, detail = self._judged(verdict)
        return Result(outcome, detail, verdict.cpu_s)

    def _judged(self, verdict: Verdict) -> tuple[str, str]:
        if not verdict.passed:
            return verdict.outcome, verdict.detail
        _, mark, words = verdict.stdout.rpartition(self.mark.encode())
        try:
            printed = Printed.told(words if mark else b"")
        except ValueError:
            return "exit", "it ended before its end"
        if equal(printed, self.expected, self.rules.name):
            return "passed", ""
        if printed.ended in {"cpu time", "wall time"}:
            return printed.ended, ""
        if printed.ended:
            return "exception", _visible(printed.ended)
        return ("wrong answer", _visible(printed.shown)) if printed.type else ("no print", "")


def questions(path: Path, rules: Rules) -> Callable[[Row], Question]:
    """What is asked of a row of the file `path`; raises CgcliError for one that is no sample."""

    def question(row: Row) -> Question:
        if not isinstance(row.get("completions"), str) or "gold_output" not in row or "id" not in row:
            raise CgcliError(
                f"{path}: a row without id, completions and gold_output is no sample of MTPB",
                hint=f"cgcli eval humaneval --judge {path}" if "task_id" in row else None,
            )
        return Question(row["completions"], row["gold_output"], rules)

    return question


def _visible(text: str) -> str:
    from cgcli.terminal.text import visible

    return visible(text[:200])


@cache
def _teller() -> str:
    return Path(__file__).with_name("last_print.py").read_text("utf-8")
