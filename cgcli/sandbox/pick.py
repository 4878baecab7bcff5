"""Picks the best of several programs: runs them, evaluates the checks, and lets the outputs vote.

Programs that print the same vote for each other; one that prints nothing has no vote. `Rank` has the criteria that
count before the votes. Voting follows self-consistency (Wang et al. 2022, arXiv 2203.11171), with the program's output
as the answer, as in AlphaCode (Li et al. 2022).
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
class RankedRun:
    """A program that was run."""

    index: int  # in the sequence of programs
    verdict: Verdict
    rank: Rank  # the verdict and the votes included


def run_and_rank(
    programs: Sequence[tuple[bytes, Rank]],
    policy: Policy,
    *,
    checks: Sequence[str] = (),
    interrupted: Callable[[], bool] = never,
) -> list[RankedRun]:
    """Run programs, each given with its rank so far; best first.

    Raises SandboxError if no sandbox works and `policy` is not unsafe, and Interrupted.
    """
    verdicts: list[Verdict] = []
    for source, _ in programs:
        verdicts.append(run(source, checks=checks, policy=policy, interrupted=interrupted))
        if verdicts[-1].outcome == "interrupted":
            raise Interrupted("interrupted while the candidates ran")
    return rank_runs([rank for _, rank in programs], verdicts)


def rank_runs(ranks: Sequence[Rank], verdicts: Sequence[Verdict]) -> list[RankedRun]:
    """Rank programs by their rank so far and their verdict, best first; outputs vote among programs that passed the
    same number of checks."""
    votes = Counter((one.checks_passed, one.stdout) for one in verdicts if one.ran and not one.silent)
    runs = []
    for index, (rank, verdict) in enumerate(zip(ranks, verdicts, strict=True)):
        passed = verdict.checks_passed
        runs.append(RankedRun(index, verdict, rank.with_run(verdict.ran, passed, votes[passed, verdict.stdout])))
    return sorted(runs, key=lambda one: one.rank, reverse=True)


def summary(runs: Sequence[RankedRun], checks: Sequence[str] = ()) -> str:
    """One line for the user: how many ran or passed the checks, and how many printed what the best one printed."""
    passed = [one for one in runs if one.verdict.passed]
    counted = f"{len(passed)} of {len(runs)}" + (" candidates passed the checks" if checks else " ran")
    if passed and not checks and all(one.verdict.silent for one in passed):
        return f"{counted}; none printed anything, so running them tested nothing"
    votes = runs[0].rank.votes
    return f"{counted}; {votes} printed the same output" if votes > 1 else counted


def check_expressions(checks: Sequence[str]) -> None:
    """Raises UsageError for a check that is not an expression."""
    for check in checks:
        try:
            compile(check, "--check", "eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise UsageError(f"--check {check!r} is not a Python expression", hint="--check 'f(2) == 4'") from error
