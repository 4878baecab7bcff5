"""MTPB's results, analyzed as in the paper: pass rates by category, turns, difficulty and prompt perplexity.

A pass rate is the mean over problems of the fraction of their samples that pass (arXiv 2203.13474, section 4). Every
interval is bootstrapped over problems, because samples of one problem tend to fail together.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

from cgcli.evals.mtpb import Problem, Turns
from cgcli.evals.passk import Mean, bootstrap_mean
from cgcli.evals.samples import Row

GroupT = TypeVar("GroupT", bound=Hashable)

HARD, EASY = 0.3, 0.7  # a problem with a lower pass rate is hard, with a higher one easy
_QUARTERS = 4


@dataclass(frozen=True)
class MTPBResult:
    """A judged sample and the values that the analyses group by."""

    problem: str
    turns: Turns
    number_of_turns: int
    category: str | None  # None if the problem is unknown
    outcome: str
    perplexity: float | None = None  # of its prompts; None if the row does not have it

    @classmethod
    def of(cls, row: Row, outcome: str, problem: Problem | None) -> MTPBResult:
        """From a row, ours or one of the paper's sampler, whose samples are always multi-turn."""
        kind: Turns = "single" if row.get("turns") == "single" else "multi"
        parts = row.get("prompts_completions") or ()  # the prefix, then a prompt and a completion for each turn
        turns = len(problem.prompts) if problem else int(row.get("number_of_turns", len(parts) // 2))
        perplexity = row.get("prompt_perplexity")
        category = problem.category if problem else None
        return cls(str(row["id"]), kind, turns, category, outcome, perplexity)

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"


def totals(results: Sequence[MTPBResult]) -> dict[str, Any]:
    """The numbers over all results, as JSON values; rates are fractions."""
    found = pass_rate(results)
    return {
        "pass@1": found.value if found else None,
        "interval": found.interval if found else None,
        "n_problems": len({result.problem for result in results}),
        "n_samples": len(results),
        "verdicts": dict(Counter(result.outcome for result in results).most_common()),
    }


def analyze(results: Sequence[MTPBResult]) -> dict[str, Any]:
    """The totals, and for multi-turn and single-turn samples the pass rates by group, as JSON values."""
    kinds = sorted({result.turns for result in results})
    hardness = difficulty(results)
    by_turns = {}
    for kind in kinds:
        own = [result for result in results if result.turns == kind]
        by_turns[kind] = {
            **totals(own),
            "by_category": _rates(own, lambda result: result.category or "unknown"),
            "by_number_of_turns": _rates(own, lambda result: result.number_of_turns),
            "by_difficulty": _rates(own, lambda result: hardness[result.problem]),
            "prompt_perplexity": prompt_perplexity(own),
            "by_perplexity_quartile": quartiles(own),
        }
    # Of multi and single, the totals at the top are those of multi, as in the paper.
    first = {} if not kinds else totals([result for result in results if result.turns == kinds[0]])
    counted = {"n_samples": len(results), "verdicts": totals(results)["verdicts"]} if len(kinds) > 1 else {}
    return {**(first or totals(results)), **counted, "turns": by_turns}


def pass_rate(results: Iterable[MTPBResult]) -> Mean | None:
    """The mean over problems of the fraction that passes; None if there are no results."""
    rates = problem_rates(results)
    return bootstrap_mean([(rate, 1) for rate in rates.values()]) if rates else None


def problem_rates(results: Iterable[MTPBResult]) -> dict[str, float]:
    """The fraction of each problem's samples that passes."""
    return {
        problem: sum(result.passed for result in own) / len(own)
        for problem, own in _group_by(results, lambda result: result.problem).items()
    }


def difficulty(results: Iterable[MTPBResult]) -> dict[str, str]:
    """Each problem as `easy`, `medium` or `hard`, by its pass rate over all results, multi and single together.

    The paper averages over its models. Within one run, a group's pass rate partly follows from the grouping itself:
    compare multi with single inside a group, not one group with another.
    """
    rates = problem_rates(results)
    return {problem: "hard" if rate < HARD else "easy" if rate > EASY else "medium" for problem, rate in rates.items()}


def prompt_perplexity(results: Iterable[MTPBResult]) -> dict[str, Any]:
    """The mean prompt perplexity of all samples, of those that passed, and of those that failed."""
    scored = [result for result in results if result.perplexity is not None]
    groups = {
        "all": scored,
        "passed": [result for result in scored if result.passed],
        "failed": [result for result in scored if not result.passed],
    }
    return {
        name: _as_json(_mean(own, lambda result: result.perplexity or 0.0), len(own)) for name, own in groups.items()
    }


def quartiles(results: Iterable[MTPBResult]) -> list[dict[str, Any]]:
    """The fraction that passes in four groups of rising prompt perplexity; [] for fewer than four samples."""
    scored = sorted(
        (result for result in results if result.perplexity is not None), key=lambda result: result.perplexity or 0.0
    )
    if len(scored) < _QUARTERS:
        return []
    # The groups have equal sizes, so samples of equal perplexity may fall into different groups.
    ends = [len(scored) * quarter // _QUARTERS for quarter in range(_QUARTERS + 1)]
    groups = [scored[begin:end] for begin, end in pairwise(ends)]
    return [
        {"from": own[0].perplexity, "to": own[-1].perplexity, **_as_json(_mean(own, lambda one: one.passed), len(own))}
        for own in groups
    ]


def _rates(results: Sequence[MTPBResult], key: Callable[[MTPBResult], str | int]) -> dict[str, dict[str, Any]]:
    return {
        str(group): {**_as_json(pass_rate(own), len(own)), "n_problems": len({result.problem for result in own})}
        for group, own in sorted(_group_by(results, key).items())
    }


def _mean(results: Sequence[MTPBResult], value: Callable[[MTPBResult], float]) -> Mean | None:
    """The mean over samples, bootstrapped over problems."""
    own = _group_by(results, lambda result: result.problem).values()
    return bootstrap_mean([(sum(map(value, cluster)), len(cluster)) for cluster in own]) if own else None


def _as_json(found: Mean | None, samples: int) -> dict[str, Any]:
    if found is None:
        return {"value": None, "interval": None, "n_samples": samples}
    return {"value": found.value, "interval": found.interval, "n_samples": samples}


def _group_by(results: Iterable[MTPBResult], key: Callable[[MTPBResult], GroupT]) -> Mapping[GroupT, list[MTPBResult]]:
    groups: dict[GroupT, list[MTPBResult]] = defaultdict(list)
    for result in results:
        groups[key(result)].append(result)
    return groups
