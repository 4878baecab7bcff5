"""pass@k by the unbiased estimator, means over problems with bootstrap intervals, and the totals of a HumanEval run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from cgcli.evals.humaneval import KS
from cgcli.evals.judging import JudgedSample

RESAMPLES = 10_000
LEVEL = 0.95  # of the intervals


@dataclass(frozen=True)
class Mean:
    """A mean over problems and its bootstrap interval at LEVEL, as if similar problems had been asked."""

    value: float
    interval: tuple[float, float] | None  # None if all problems have the same value: resampling says nothing then


def pass_at_k(n: int, c: int, k: int) -> float:
    """The probability that at least one of `k` samples passes, if `c` of `n` did: unbiased, and for k <= n only.

    Source: Chen et al. 2021, Evaluating Large Language Models Trained on Code (arXiv 2107.03374), section 2.1.
    Raises ValueError for other numbers.
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"pass@{k} is undefined for {c} of {n} samples")
    fail = 1.0
    for left in range(n - c + 1, n + 1):
        fail *= max(0.0, 1 - k / left)
    return 1 - fail


def mean_pass_at_k(counts: Sequence[tuple[int, int]], k: int) -> Mean | None:
    """The mean pass@k over problems, given as (samples, passed); None if a problem has fewer than `k` samples."""
    if not counts or min(n for n, _ in counts) < k:
        return None
    return bootstrap_mean([(pass_at_k(n, c, k), 1) for n, c in counts])


def bootstrap_mean(clusters: Sequence[tuple[float, float]], *, seed: int = 0) -> Mean:
    """The mean over clusters (a problem with all its samples), each given as (sum, size).

    The interval is a percentile bootstrap that draws whole clusters with replacement, which keeps the samples of a
    problem together (Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapters 8 and 13).
    Raises ValueError if there are no clusters.
    """
    import numpy as np

    if not clusters:
        raise ValueError("no clusters")
    sums, sizes = np.array(clusters, dtype=np.float64).T
    value = float(sums.sum() / sizes.sum())
    if np.all(sums * sizes[0] == sums[0] * sizes):
        return Mean(value, None)
    generator = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    at_once = max(1, 1_000_000 // len(clusters))  # numbers in memory
    for begin in range(0, RESAMPLES, at_once):
        drawn = generator.integers(len(clusters), size=(min(at_once, RESAMPLES - begin), len(clusters)))
        means[begin : begin + at_once] = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Mean(value, (float(low), float(high)))


@dataclass
class TemperatureTally:
    """Samples drawn at one temperature, counted by task."""

    drawn: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)

    @property
    def samples(self) -> int:
        return self.drawn.total()

    def pass_at(self, k: int) -> Mean | None:
        """The mean pass@k; None if a task has fewer than `k` samples."""
        return mean_pass_at_k([(n, self.passed[task]) for task, n in self.drawn.items()], k)


class Totals:
    """Counts judged samples as they arrive."""

    def __init__(self) -> None:
        self.tallies: dict[float | None, TemperatureTally] = {}  # None: samples without a temperature
        self.verdicts: Counter[str] = Counter()

    def add(self, judged: JudgedSample) -> None:
        temperature = judged.row.get("temperature")
        tally = self.tallies.setdefault(
            temperature if isinstance(temperature, int | float) else None, TemperatureTally()
        )
        tally.drawn[judged.row["task_id"]] += 1
        tally.passed[judged.row["task_id"]] += judged.result.passed
        self.verdicts[judged.result.outcome] += 1

    @property
    def samples(self) -> int:
        return self.verdicts.total()

    @property
    def problems(self) -> int:
        return len({task for tally in self.tallies.values() for task in tally.drawn})

    @property
    def counts(self) -> dict[str, int]:
        """Samples by verdict: `passed` first, then the most frequent."""
        return dict(sorted(self.verdicts.items(), key=lambda one: (one[0] != "passed", -one[1], one[0])))

    @property
    def score(self) -> str:
        """The share of samples that passed, for a progress bar."""
        return f"{100 * self.verdicts['passed'] / max(1, self.samples):.1f} % pass"

    def best(self, k: int) -> tuple[float | None, Mean] | None:
        """The temperature with the highest pass@k, as in the paper; None if no temperature has enough samples."""
        found = [(temperature, estimate) for temperature, tally in self.comparable if (estimate := tally.pass_at(k))]
        return max(found, key=lambda one: one[1].value, default=None)

    @property
    def ks(self) -> list[int]:
        """Every `k` for which some temperature has enough samples."""
        return [k for k in KS if any(tally.pass_at(k) for tally in self.tallies.values())]

    @property
    def comparable(self) -> list[tuple[float | None, TemperatureTally]]:
        """The temperatures that have samples of every task. Others could look better because their tasks are easier."""
        return [(temperature, tally) for temperature, tally in self.sorted() if len(tally.drawn) == self.problems]

    def sorted(self) -> list[tuple[float | None, TemperatureTally]]:
        """The tallies by temperature, lowest first."""
        return sorted(self.tallies.items(), key=lambda one: -1.0 if one[0] is None else one[0])

    def report(self) -> dict[str, object]:
        """The results as JSON values: fractions, their intervals (or None), and the best of several temperatures."""
        facts: dict[str, object] = {"n_problems": self.problems, "n_samples": self.samples}
        intervals, best = {}, {}
        for k in KS:
            if found := self.best(k):
                temperature, estimate = found
                facts[f"pass@{k}"] = estimate.value
                intervals[f"pass@{k}"] = estimate.interval
                best[f"pass@{k}"] = temperature
        facts |= {"intervals": intervals, "verdicts": self.counts}
        if len(self.comparable) > 1:
            facts["best_temperature"] = best
        facts["temperatures"] = [_temperature_report(temperature, tally) for temperature, tally in self.sorted()]
        return facts


def _temperature_report(temperature: float | None, tally: TemperatureTally) -> dict[str, object]:
    facts: dict[str, object] = {
        "temperature": temperature,
        "n_problems": len(tally.drawn),
        "n_samples": tally.samples,
    }
    for k in KS:
        if estimate := tally.pass_at(k):
            facts[f"pass@{k}"] = estimate.value
    return facts
