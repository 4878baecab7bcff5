"""HumanEval's results: pass@k for each temperature, the best temperature, and the number of samples by verdict."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from cgcli.evals.humaneval import KS
from cgcli.evals.judging import JudgedSample
from cgcli.evals.passk import Mean, mean_pass_at_k


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
