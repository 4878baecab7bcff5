"""Which of several programs to keep: they are run, held to the checks, and what they print votes.

Programs that print the same vote for each other; one that prints nothing has no vote. What counts before that is
`Rank`'s matter. Source of the vote: self-consistency, Wang et al. 2022, arXiv 2203.11171, with behaviour in place of
answers as in AlphaCode, Li et al. 2022.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cgcli.core.errors import Interrupted, UsageError
from cgcli.program.rank import Rank
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.run import never, run
from cgcli.sandbox.verdict import Verdict


@dataclass(frozen=True)
class Tried:
    """index: which of the programs; rank: with what running it told."""

    index: int
    verdict: Verdict
    rank: Rank


def ranked(
    programs: Sequence[tuple[bytes, Rank]],
    policy: Policy,
    *,
    checks: Sequence[str] = (),
    interrupted: Callable[[], bool] = never,
) -> list[Tried]:
    """Run programs, each given with its rank so far; best first.

    Raises SandboxError where there is no isolation and `policy` is not unsafe, Interrupted.
    """
    verdicts: list[Verdict] = []
    for source, _ in programs:
        verdicts.append(run(source, checks=checks, policy=policy, interrupted=interrupted))
        if verdicts[-1].outcome == "interrupted":
            raise Interrupted("interrupted while the candidates ran")
    return ordered([rank for _, rank in programs], verdicts)


def ordered(ranks: Sequence[Rank], verdicts: Sequence[Verdict]) -> list[Tried]:
    """Programs of these ranks and verdicts, best first. Among those that hold as many checks what they print votes."""
    votes = Counter((one.held, one.stdout) for one in verdicts if one.ran and not one.silent)
    tried = [
        Tried(index, verdict, rank.with_run(verdict.ran, verdict.held, votes[verdict.held, verdict.stdout]))
        for index, (rank, verdict) in enumerate(zip(ranks, verdicts, strict=True))
    ]
    return sorted(tried, key=lambda one: one.rank, reverse=True)


def summary(tried: Sequence[Tried], checks: Sequence[str] = ()) -> str:
    """For a person: how many ran, or pass the checks, and how many print what the first one prints."""
    passed = [one for one in tried if one.verdict.passed]
    counted = f"{len(passed)} of {len(tried)}" + (" candidates passed the checks" if checks else " ran")
    if passed and not checks and all(one.verdict.silent for one in passed):
        return f"{counted}; none printed anything, so nothing was tested"
    votes = tried[0].rank.votes
    return f"{counted}; {votes} printed the same output" if votes > 1 else counted


def check_expressions(checks: Sequence[str]) -> None:
    """Raises UsageError for a check that is no expression."""
    for check in checks:
        try:
            compile(check, "--check", "eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise UsageError(f"--check {check!r} is not a Python expression", hint="--check 'f(2) == 4'") from error
