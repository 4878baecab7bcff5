"""What `gen` does with generated programs beyond printing them: run the candidates to choose one, run the result."""

from __future__ import annotations

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
        best = tried[0]
        does = f"{best.alike} print the same" if best.verdict.passed else f"the most probable fails: {best.verdict}"
        self.output.note(f"{passed} of {len(tried)} candidates run through; {does}")
        return best.index

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


def judge(verdict: Verdict) -> None:
    """Raises ProgramFailed for a program that did not run through."""
    if not verdict.passed:
        raise ProgramFailed(f"the program, when run: {verdict}", hint="another --seed, or -n 8 --pick run")
