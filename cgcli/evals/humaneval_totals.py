"""What judged samples come to: pass@k at each temperature, the best of them, and how many of each verdict."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from cgcli.evals.humaneval import KS
from cgcli.evals.passk import Estimate, mean_pass_at_k
from cgcli.evals.verdicts import Judged


@dataclass
class Tally:
    """The samples of one temperature: how many there are of each task, and how many of them passed."""

    drawn: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)

    @property
    def samples(self) -> int:
        return self.drawn.total()

    def pass_at(self, k: int) -> Estimate | None:
        """None where a task has fewer samples than `k`."""
        return mean_pass_at_k([(n, self.passed[task]) for task, n in self.drawn.items()], k)


class Totals:
    """Counts judged samples as they come. The temperature of samples that do not tell it is None."""

    def __init__(self) -> None:
        self.tallies: dict[float | None, Tally] = {}
        self.verdicts: Counter[str] = Counter()

    def add(self, judged: Judged) -> None:
        temperature = judged.row.get("temperature")
        tally = self.tallies.setdefault(temperature if isinstance(temperature, int | float) else None, Tally())
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
        """Samples by verdict: what passed first, then the most frequent."""
        return dict(sorted(self.verdicts.items(), key=lambda one: (one[0] != "passed", -one[1], one[0])))

    @property
    def score(self) -> str:
        """The share of samples that passed so far, in a few words."""
        return f"{100 * self.verdicts['passed'] / max(1, self.samples):.1f} % pass"

    def best(self, k: int) -> tuple[float | None, Estimate] | None:
        """The temperature with the highest pass@k, as the paper reports it; None where no temperature tells it."""
        found = [(temperature, estimate) for temperature, tally in self.comparable if (estimate := tally.pass_at(k))]
        return max(found, key=lambda one: one[1].value, default=None)

    @property
    def ks(self) -> list[int]:
        """Of which pass@k some temperature tells."""
        return [k for k in KS if any(tally.pass_at(k) for tally in self.tallies.values())]

    @property
    def comparable(self) -> list[tuple[float | None, Tally]]:
        """The temperatures that were asked every task of these: others may be better by their tasks alone."""
        return [(temperature, tally) for temperature, tally in self.sorted() if len(tally.drawn) == self.problems]

    def sorted(self) -> list[tuple[float | None, Tally]]:
        return sorted(self.tallies.items(), key=lambda one: -1.0 if one[0] is None else one[0])

    def report(self) -> dict[str, object]:
        """As JSON: fractions, intervals (None where they say nothing), `best_temperature` where several compare."""
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
        facts["temperatures"] = [_told(temperature, tally) for temperature, tally in self.sorted()]
        return facts


def _told(temperature: float | None, tally: Tally) -> dict[str, object]:
    facts: dict[str, object] = {
        "temperature": temperature,
        "n_problems": len(tally.drawn),
        "n_samples": tally.samples,
    }
    for k in KS:
        if estimate := tally.pass_at(k):
            facts[f"pass@{k}"] = estimate.value
    return facts
