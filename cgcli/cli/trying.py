"""What `gen` does with generated programs beyond printing them: run the candidates to choose one, run the result."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cgcli.core.errors import ProgramFailed, UsageError

if TYPE_CHECKING:
    from cgcli.core.output import Output
    from cgcli.program.program import Program
    from cgcli.program.turn import Candidate
    from cgcli.sandbox.policy import Policy
    from cgcli.sandbox.verdict import Verdict


_SHOWN = 3  # ways of failing
_LINE = re.compile(r", line \d+$")
"""Where it failed, which tells apart what fails alike."""


@dataclass(frozen=True)
class Trial:
    """checks: expressions that must hold at the end; output: told what the candidates did."""

    policy: Policy
    checks: tuple[str, ...]
    output: Output

    @classmethod
    def of(cls, output: Output, language: str, checks: Sequence[str], *, unsafe: bool) -> Trial:
        """Raises UsageError for another language or a wrong check, SandboxError before anything was generated."""
        from cgcli.sandbox.pick import checking
        from cgcli.sandbox.policy import Policy
        from cgcli.sandbox.run import run

        if language != "python":
            raise UsageError(f"only Python programs are run, this one is {language}", hint="cgcli gen without --run")
        checking(checks)
        policy = Policy(unsafe=unsafe)
        run(b"", policy=policy)
        return cls(policy, tuple(checks), output)

    def prefer(self, candidates: Sequence[tuple[Program, Candidate]]) -> int:
        """The candidate whose program does what most of them do."""
        from cgcli.native.interrupt import Interrupt
        from cgcli.program.program import encode
        from cgcli.sandbox.pick import ranked

        programs = [(encode(program.source()), one.mean_logprob or 0.0) for program, one in candidates]
        interrupt = Interrupt()
        tried = ranked(programs, self.policy, checks=self.checks, interrupted=lambda: interrupt.requested)
        passed = sum(one.verdict.passed for one in tried)
        said = f"{passed} of {len(tried)} candidates {'pass the checks' if self.checks else 'run through'}"
        if passed > 1:
            said += f", {tried[0].alike} print the same"
        self.output.note(said)
        failed = Counter(_LINE.sub("", str(one.verdict)) for one in tried if not one.verdict.passed)
        shown = failed.most_common(_SHOWN)
        for why, count in shown:
            self.output.note(f"{count} fail{'s' * (count == 1)}: {why}")
        if rest := failed.total() - sum(count for _, count in shown):
            self.output.note(f"{rest} fail{'s' * (rest == 1)} in other ways")
        return tried[0].index

    def run(self, program: Program) -> Verdict:
        """Run the program, held to the checks; what it prints goes to stderr, since stdout has the program.

        Raises Interrupted, SandboxError.
        """
        from cgcli.core.errors import Interrupted
        from cgcli.native.interrupt import interruptible
        from cgcli.program.program import encode
        from cgcli.sandbox.pick import checking
        from cgcli.sandbox.run import run

        with interruptible() as interrupt:
            source = encode(program.source()) + checking(self.checks)
            verdict = run(source, policy=self.policy, interrupted=lambda: interrupt.requested)
        if verdict.outcome == "interrupted":
            raise Interrupted
        for line in (verdict.stdout + verdict.stderr).decode("utf-8", "replace").splitlines():
            self.output.note(line)
        return verdict


def judge(verdict: Verdict, tried: int) -> None:
    """Raises ProgramFailed for a program that did not run through. tried: candidates that were run to choose it."""
    if not verdict.passed:
        hint = f"more than -n {tried}, or other words" if tried > 1 else "-n 8 --pick run"
        raise ProgramFailed(f"the program, when run: {verdict}", hint=f"another --seed, {hint}")
