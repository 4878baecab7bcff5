"""What the judged samples of MTPB say: the paper's analyses, each rate with an interval by drawing problems anew.

A pass rate is the mean over problems of the part of their samples that passes (arXiv 2203.13474, section 4). The
interval of every number keeps a problem's samples together: those of one problem fail together.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

from cgcli.evals.mtpb import Problem, Turns
from cgcli.evals.passk import Estimate, estimate
from cgcli.evals.samples import Row

GroupT = TypeVar("GroupT", bound=Hashable)

HARD, EASY = 0.3, 0.7
"""Pass rates of a problem below and above which it is hard and easy."""
_QUARTERS = 4


@dataclass(frozen=True)
class Result:
    """A judged sample. category: None where the problem is not known; perplexity: of its prompts, where it was kept."""

    problem: str
    turns: Turns
    number_of_turns: int
    category: str | None
    outcome: str
    perplexity: float | None = None

    @classmethod
    def of(cls, row: Row, outcome: str, problem: Problem | None) -> Result:
        """Of a sample's row, ours or as the paper's sampler writes it (always of several turns)."""
        kind: Turns = "single" if row.get("turns") == "single" else "multi"
        parts = row.get("prompts_completions") or ()  # the prefix, then a prompt and a completion for each turn
        turns = len(problem.prompts) if problem else int(row.get("number_of_turns", len(parts) // 2))
        perplexity = row.get("prompt_perplexity")
        category = problem.category if problem else None
        return cls(str(row["id"]), kind, turns, category, outcome, perplexity)

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"


def totals(results: Sequence[Result]) -> dict[str, Any]:
    """The numbers over all results, as plain JSON values; rates are fractions."""
    found = pass_rate(results)
    return {
        "pass@1": found.value if found else None,
        "interval": found.interval if found else None,
        "n_problems": len({result.problem for result in results}),
        "n_samples": len(results),
        "verdicts": dict(Counter(result.outcome for result in results).most_common()),
    }


def analysis(results: Sequence[Result]) -> dict[str, Any]:
    """The totals, and for each way of turns the pass rate by what the paper looks at."""
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
    # Of both ways the paper's own is the first.
    first = {} if not kinds else totals([result for result in results if result.turns == kinds[0]])
    counted = {"n_samples": len(results), "verdicts": totals(results)["verdicts"]} if len(kinds) > 1 else {}
    return {**(first or totals(results)), **counted, "turns": by_turns}


def pass_rate(results: Iterable[Result]) -> Estimate | None:
    """The mean over problems of the part that passes; None for no results."""
    rates = problem_rates(results)
    return estimate([(rate, 1) for rate in rates.values()]) if rates else None


def problem_rates(results: Iterable[Result]) -> dict[str, float]:
    """The part of each problem's samples that passes."""
    return {
        problem: sum(result.passed for result in own) / len(own)
        for problem, own in _grouped(results, lambda result: result.problem).items()
    }


def difficulty(results: Iterable[Result]) -> dict[str, str]:
    """`easy`, `medium` or `hard` by each problem's pass rate over all of these results, multi and single together.

    The paper averages over its models; over one run, a group's own rate is partly what put it there: compare ways of
    turns within a group, not groups.
    """
    rates = problem_rates(results)
    return {problem: "hard" if rate < HARD else "easy" if rate > EASY else "medium" for problem, rate in rates.items()}


def prompt_perplexity(results: Iterable[Result]) -> dict[str, Any]:
    """The mean over samples: of all, of those that passed, of those that did not."""
    scored = [result for result in results if result.perplexity is not None]
    groups = {
        "all": scored,
        "passed": [result for result in scored if result.passed],
        "failed": [result for result in scored if not result.passed],
    }
    return {name: _told(_mean(own, lambda result: result.perplexity or 0.0), len(own)) for name, own in groups.items()}


def quartiles(results: Iterable[Result]) -> list[dict[str, Any]]:
    """The part of samples that passes, in four groups of rising prompt perplexity; [] for fewer samples than groups."""
    scored = sorted(
        (result for result in results if result.perplexity is not None), key=lambda result: result.perplexity or 0.0
    )
    if len(scored) < _QUARTERS:
        return []
    # A sample between two groups of equal perplexity falls where the sort put it: groups are of one size.
    ends = [len(scored) * quarter // _QUARTERS for quarter in range(_QUARTERS + 1)]
    groups = [scored[begin:end] for begin, end in pairwise(ends)]
    return [
        {"from": own[0].perplexity, "to": own[-1].perplexity, **_told(_mean(own, lambda one: one.passed), len(own))}
        for own in groups
    ]


def _rates(results: Sequence[Result], key: Callable[[Result], str | int]) -> dict[str, dict[str, Any]]:
    return {
        str(group): {**_told(pass_rate(own), len(own)), "n_problems": len({result.problem for result in own})}
        for group, own in sorted(_grouped(results, key).items())
    }


def _mean(results: Sequence[Result], value: Callable[[Result], float]) -> Estimate | None:
    """Over samples; a problem's are drawn together."""
    own = _grouped(results, lambda result: result.problem).values()
    return estimate([(sum(map(value, cluster)), len(cluster)) for cluster in own]) if own else None


def _told(found: Estimate | None, samples: int) -> dict[str, Any]:
    if found is None:
        return {"value": None, "interval": None, "n_samples": samples}
    return {"value": found.value, "interval": found.interval, "n_samples": samples}


def _grouped(results: Iterable[Result], key: Callable[[Result], GroupT]) -> Mapping[GroupT, list[Result]]:
    groups: dict[GroupT, list[Result]] = defaultdict(list)
    for result in results:
        groups[key(result)].append(result)
    return groups
