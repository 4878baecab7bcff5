"""Which of several programs to keep: they are run, and what they print votes.

Programs that print the same are a group. The largest group comes first, and in a group the most probable program; what
fails comes last. A check is an expression of the user's own that must hold at a program's end; one that does not is a
failure. Source of the vote: self-consistency, Wang et al. 2022, arXiv 2203.11171, with behaviour in place of answers as
in AlphaCode, Li et al. 2022.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cgcli.core.errors import Interrupted, UsageError
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.run import never, run
from cgcli.sandbox.verdict import Verdict


@dataclass(frozen=True)
class Tried:
    """index: which of the programs; alike: how many print the same, itself included."""

    index: int
    verdict: Verdict
    alike: int


def ranked(
    programs: Sequence[tuple[bytes, float]],
    policy: Policy,
    *,
    checks: Sequence[str] = (),
    interrupted: Callable[[], bool] = never,
) -> list[Tried]:
    """Run programs, each given with its log-probability; best first.

    Raises SandboxError where there is no isolation and `policy` is not unsafe, UsageError for a check that is no
    expression, Interrupted.
    """
    ending = checking(checks)
    verdicts: list[Verdict] = []
    for source, _ in programs:
        verdicts.append(run(source + ending, policy=policy, interrupted=interrupted))
        if verdicts[-1].outcome == "interrupted":
            raise Interrupted("interrupted while the candidates ran")
    alike = Counter(verdict.stdout for verdict in verdicts if verdict.passed)
    tried = [Tried(index, verdict, alike[verdict.stdout]) for index, verdict in enumerate(verdicts)]
    return sorted(tried, key=lambda one: (not one.verdict.passed, -one.alike, -programs[one.index][1]))


def checking(checks: Sequence[str]) -> bytes:
    """What stands behind a program to hold it to `checks`. Raises UsageError."""
    for check in checks:
        try:
            compile(check, "--check", "eval")
        except (SyntaxError, ValueError) as error:
            raise UsageError(f"--check {check!r} is no expression of Python", hint="--check 'f(2) == 4'") from error
    return "".join(f"\nassert ({check}), {'check: ' + check!r}\n" for check in checks).encode()
