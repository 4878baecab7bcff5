"""Running generated programs for `gen`: the candidates, to choose one, and the result."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.core.errors import ProgramFailed, UsageError
from cgcli.program.source import encode
from cgcli.terminal.text import plural

if TYPE_CHECKING:
    from cgcli.app.gen_arguments import GenArguments
    from cgcli.program.program import Picked, Program
    from cgcli.program.session import Option, Plan, Session
    from cgcli.sandbox.pick import PickRule
    from cgcli.sandbox.policy import Policy
    from cgcli.sandbox.verdict import Verdict
    from cgcli.terminal.output import Output


_FAILURES_SHOWN = 3
_LINE = re.compile(r", line \d+$")
"""The place of a failure. Without it, equal failures count as one."""


@dataclass
class Selection:
    """Runs programs in the sandbox, evaluates the checks and reports the results."""

    policy: Policy
    checks: tuple[str, ...]  # expressions that must be true at the end
    output: Output
    file: Path  # the program's future path, for hints
    kept: Verdict | None = None  # of the candidate that was chosen last

    @classmethod
    def of(
        cls, output: Output, language: str, checks: Sequence[str], *, policy: Policy, needed: bool, file: Path
    ) -> Selection:
        """needed: the user asked for programs to be run. Only then may it raise.

        Raises UsageError for a language other than Python or a malformed check, SandboxError if nothing can run.
        """
        from cgcli.sandbox.pick import check_expressions
        from cgcli.sandbox.run import run

        if not needed:
            return cls(policy, (), output, file)
        if language != "python":
            raise UsageError(
                f"cannot run a {language} program, only Python", hint="leave out --run, --pick, --check, --until"
            )
        check_expressions(checks)
        run(b"", policy=policy)
        return cls(policy, tuple(checks), output, file)

    def prefer(self, rule: PickRule, session: Session, plan: Plan, options: Sequence[Option]) -> tuple[int, Picked]:
        """Pick one of a turn's candidates by a rule, and report how they ran."""
        from cgcli.native.interrupt import Interrupt
        from cgcli.sandbox.pick import Picker

        interrupt = Interrupt()
        picker = Picker(
            rule=rule,
            policy=self.policy,
            run=self.verdict_on,
            note=self.output.note,
            checks=self.checks,
            progress=self.output.progress(),
            interrupted=lambda: interrupt.requested,
        )
        index, picked = picker(session, plan, options)
        if picker.verdicts:
            accepted = next(one.program.source() for one in options if one.index == index)
            self._report(list(picker.verdicts.values()), picker.verdicts.get(index), accepted)
        return index, picked

    def _report(self, verdicts: Sequence[Verdict], kept: Verdict | None, accepted: str) -> None:
        from cgcli.sandbox.pick import summary

        self.output.note(summary(verdicts, self.checks))
        failed = Counter(_LINE.sub("", str(one)) for one in verdicts if not one.passed)
        shown = failed.most_common(_FAILURES_SHOWN)
        for why, count in shown:
            self.output.note(f"{count} failed: {why}")
        if rest := failed.total() - sum(count for _, count in shown):
            self.output.note(f"{rest} failed in other ways")
        self.kept = kept
        if kept and not kept.passed and (hint := self._hint(kept, encode(accepted))):
            self.output.note(hint)

    def verdict_on(self, program: Program, policy: Policy, checks: Sequence[str]) -> Verdict:
        """Run a program, and show nothing of it. Raises SandboxError."""
        from cgcli.native.interrupt import Interrupt
        from cgcli.sandbox.run import run

        interrupt = Interrupt()
        return run(encode(program.source()), checks=checks, policy=policy, interrupted=lambda: interrupt.requested)

    def report_uncalled(self, program: Program, verdict: Verdict | None) -> None:
        """Name the functions that a passed program never called."""
        from cgcli.program.languages import never_called

        if verdict and verdict.passed and (words := never_called(program.source(), self.checks)):
            self.output.note(words)

    def run(self, program: Program) -> Verdict:
        """Run the program with the checks. Its output goes to stderr, since stdout has the program.

        Raises Interrupted, SandboxError.
        """
        from cgcli.core.errors import Interrupted
        from cgcli.native.interrupt import interruptible

        with interruptible():
            verdict = self.verdict_on(program, self.policy, self.checks)
        if verdict.outcome == "interrupted":
            raise Interrupted
        for line in (verdict.stdout + verdict.stderr).decode("utf-8", "replace").splitlines():
            self.output.note(line)
        if verdict.passed and self.checks:
            self.output.note(f"passed {plural(len(self.checks), 'check')}")
        elif verdict.passed and verdict.silent:
            self.output.note("the program ran and printed nothing")
        self.report_uncalled(program, verdict)
        return verdict

    def require_passed(self, verdict: Verdict, program: Program, arguments: GenArguments, *, known: int) -> None:
        """Raise ProgramFailed for a program that failed. known: how many turns were there before."""
        if verdict.passed:
            return
        hint = self._hint(verdict, encode(program.source()))
        if hint is None and _failed_before(verdict, program, known):
            hint = f"the fault is in line {verdict.line}, which was there before: mend it first"
        if hint is None:
            more = f"more than {arguments.candidates} candidates (-n)" if arguments.candidates > 1 else "-n 8"
            until = "" if arguments.until or arguments.raw else f"--until {'checks' if self.checks else 'runs'}, "
            hint = f"try {until}another --seed, {more}, or another prompt"
        raise ProgramFailed(f"the program failed: {verdict}", hint=hint)

    def _hint(self, verdict: Verdict, source: bytes) -> str | None:
        from cgcli.sandbox.hint import sandbox_hint

        return sandbox_hint(verdict, self.policy, source, command=f"cgcli run {{}} {self.file}")


def _failed_before(verdict: Verdict, program: Program, known: int) -> bool:
    """Whether a program failed before its new turns, which follow `known` others.

    A turn without a prompt continues the text where it ends, and the fault may be what it made of that.
    """
    if not verdict.statement or program.turns[known].prompt is None:
        return False
    new = list(program.spans())[known]
    return verdict.statement <= program.source().count("\n", 0, new.code)
