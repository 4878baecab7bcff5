"""What `gen` does with generated programs beyond printing them: run the candidates to choose one, run the result."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.core.errors import ProgramFailed, UsageError
from cgcli.program.source import encode

if TYPE_CHECKING:
    from cgcli.program.program import Program
    from cgcli.program.rank import Rank
    from cgcli.sandbox.policy import Policy
    from cgcli.sandbox.verdict import Verdict
    from cgcli.terminal.output import Output


_SHOWN = 3  # ways of failing
_LINE = re.compile(r", line \d+$")
"""Where it failed, which tells apart what fails alike."""


@dataclass
class Trial:
    """checks: expressions that must hold at the end; output: told what the candidates did; file: where the program will
    be, for hints; kept: what the candidate did that was kept last."""

    policy: Policy
    checks: tuple[str, ...]
    output: Output
    file: Path
    kept: Verdict | None = None

    @classmethod
    def of(cls, output: Output, language: str, checks: Sequence[str], *, unsafe: bool, file: Path) -> Trial:
        """Raises UsageError for another language or a wrong check, SandboxError before anything was generated."""
        from cgcli.sandbox.pick import check_expressions
        from cgcli.sandbox.policy import Policy
        from cgcli.sandbox.run import run

        if language != "python":
            raise UsageError(f"only Python programs are run, this one is {language}", hint="cgcli gen without --run")
        check_expressions(checks)
        policy = Policy(unsafe=unsafe)
        run(b"", policy=policy)
        return cls(policy, tuple(checks), output, file)

    def prefer(self, candidates: Sequence[tuple[Program, Rank]]) -> int:
        """The candidate that comes first when all were run."""
        from cgcli.native.interrupt import Interrupt
        from cgcli.sandbox.pick import ranked, summary

        programs = [(encode(program.source()), rank) for program, rank in candidates]
        interrupt = Interrupt()
        tried = ranked(programs, self.policy, checks=self.checks, interrupted=lambda: interrupt.requested)
        self.output.note(summary(tried, self.checks))
        failed = Counter(_LINE.sub("", str(one.verdict)) for one in tried if not one.verdict.passed)
        shown = failed.most_common(_SHOWN)
        for why, count in shown:
            self.output.note(f"{count} fail{'s' * (count == 1)}: {why}")
        if rest := failed.total() - sum(count for _, count in shown):
            self.output.note(f"{rest} fail{'s' * (rest == 1)} in other ways")
        best = tried[0]
        self.kept = best.verdict
        if not best.verdict.passed and (hint := self._hint(best.verdict, programs[best.index][0])):
            self.output.note(hint)
        return best.index

    def tell_uncalled(self, program: Program, verdict: Verdict | None) -> None:
        """Of a program that ran: what of it did not."""
        from cgcli.program.languages import never_called

        if verdict and verdict.passed and (words := never_called(program.source(), self.checks)):
            self.output.note(words)

    def run(self, program: Program) -> Verdict:
        """Run the program, held to the checks; what it prints goes to stderr, since stdout has the program.

        Raises Interrupted, SandboxError.
        """
        from cgcli.core.errors import Interrupted
        from cgcli.native.interrupt import interruptible
        from cgcli.sandbox.run import run

        with interruptible() as interrupt:
            verdict = run(
                encode(program.source()),
                checks=self.checks,
                policy=self.policy,
                interrupted=lambda: interrupt.requested,
            )
        if verdict.outcome == "interrupted":
            raise Interrupted
        for line in (verdict.stdout + verdict.stderr).decode("utf-8", "replace").splitlines():
            self.output.note(line)
        if verdict.passed and verdict.silent and not self.checks:
            self.output.note("the program ran, and printed nothing")
        self.tell_uncalled(program, verdict)
        return verdict

    def judge(self, verdict: Verdict, program: Program, tried: int) -> None:
        """Raises ProgramFailed for a program that failed. tried: candidates that were run to choose it."""
        if verdict.passed:
            return
        hint = self._hint(verdict, encode(program.source()))
        if hint is None:
            hint = "another --seed, " + (f"more than -n {tried}, or other words" if tried > 1 else "-n 8 --pick run")
        raise ProgramFailed(f"the program, when run: {verdict}", hint=hint)

    def _hint(self, verdict: Verdict, source: bytes) -> str | None:
        from cgcli.sandbox.hint import sandbox_hint
        from cgcli.sandbox.risks import risks

        found = [risk.what for risk in risks(source)]
        return sandbox_hint(verdict, self.policy, found, command=f"cgcli run {{}} {self.file}")
