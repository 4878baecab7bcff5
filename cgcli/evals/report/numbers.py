"""All numbers of the runs in one long table, a line each, as other tools read them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from typing import Any

from cgcli.evals.analysis import problem_rates
from cgcli.evals.humaneval import KS
from cgcli.evals.passk import Estimate, estimate
from cgcli.evals.report.published import Published
from cgcli.evals.report.repeat import commands
from cgcli.evals.report.runs import Run


@dataclass(frozen=True)
class Number:
    """A number of a run. model: the run's label; low, high: its interval; n: samples behind it.

    measure: `pass@k` and `best pass@k` (of the temperatures) for HumanEval; `pass/TURNS`, `pass/TURNS/BY/GROUP`,
    `perplexity/TURNS/WHICH` and `gain` (multi less single) for MTPB; `verdict/OUTCOME` (how many); `tokens/s`,
    `samples/s`; of others `published/MEASURE`. Rates are fractions, perplexities per token.
    """

    benchmark: str
    model: str
    quant: str
    temperature: float | None
    measure: str
    k: int | None
    value: float
    low: float | None
    high: float | None
    n: int | None


GROUPS = ("category", "number_of_turns", "difficulty")
"""What MTPB's problems are grouped by: with `by_` before it, as `analysis` has it."""


def gain(run: Run) -> Estimate | None:
    """How much more often several turns pass than one, over the problems that were tried both ways; None for none."""
    multi, single = (
        problem_rates(result for result in run.results if result.turns == turns) for turns in ("multi", "single")
    )
    both = multi.keys() & single.keys()
    return estimate([(multi[problem] - single[problem], 1) for problem in sorted(both)]) if both else None


def numbers(runs: Iterable[Run], others: Iterable[Published]) -> list[Number]:
    """Of all runs, then of others."""
    own = [number for run in runs for number in _of(run)]
    theirs = [
        Number(one.benchmark, one.model, "", None, f"published/{one.measure}", one.k, one.value, None, None, None)
        for one in others
    ]
    return own + theirs


def as_csv(found: Sequence[Number]) -> str:
    """With a header; what is not known is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(Number))
    writer.writerows(map(astuple, found))
    return text.getvalue()


def as_json(runs: Iterable[Run], found: Iterable[Number]) -> dict[str, object]:
    """What was run, and the numbers; a run's facts are None where its rows do not say them."""
    told = [
        {
            "label": run.label,
            **asdict(run.identity),
            "machines": sorted(run.machines),
            "n_problems": len(run.problems),
            "n_samples": run.samples,
            "unjudged": run.unjudged,
            "repeated": run.repeated,
            "samples": list(map(str, run.files)),
            "commands": list(commands(run)),
        }
        for run in runs
    ]
    return {"runs": told, "numbers": [asdict(number) for number in found]}


def _of(run: Run) -> Iterator[Number]:
    measures = _humaneval(run) if run.identity.benchmark == "humaneval" else _mtpb(run)
    for temperature, measure, k, value, interval, n in (*measures, *_speed(run)):
        known, (low, high) = run.identity, interval or (None, None)
        yield Number(known.benchmark, run.label, known.quant, temperature, measure, k, value, low, high, n)


_Measure = tuple[float | None, str, int | None, float, Sequence[float] | None, int | None]


def _humaneval(run: Run) -> Iterator[_Measure]:
    totals = run.totals
    for temperature, tally in totals.sorted():
        for k in KS:
            if found := tally.pass_at(k):
                yield temperature, "pass@k", k, found.value, found.interval, tally.samples
    if len(totals.comparable) > 1:
        for k in KS:
            if best := totals.best(k):
                temperature, found = best
                yield temperature, "best pass@k", k, found.value, found.interval, totals.tallies[temperature].samples
    for outcome, count in run.verdicts.items():
        yield None, f"verdict/{outcome}", None, count, None, run.samples


def _mtpb(run: Run) -> Iterator[_Measure]:
    temperature = run.identity.temperature

    def told(measure: str, one: Mapping[str, Any]) -> Iterator[_Measure]:
        if one["value"] is not None:
            yield temperature, measure, None, one["value"], one["interval"], one["n_samples"]

    for turns, found in run.analysis["turns"].items():
        yield from told(f"pass/{turns}", {**found, "value": found["pass@1"]})
        for by in GROUPS:
            for name, one in found[f"by_{by}"].items():
                yield from told(f"pass/{turns}/{by}/{name}", one)
        for number, one in enumerate(found["by_perplexity_quartile"], 1):
            yield from told(f"pass/{turns}/perplexity_quartile/{number}", one)
        for which, one in found["prompt_perplexity"].items():
            yield from told(f"perplexity/{turns}/{which}", one)
    if more := gain(run):
        yield temperature, "gain", None, more.value, more.interval, run.samples
    for outcome, count in run.verdicts.items():
        yield temperature, f"verdict/{outcome}", None, count, None, run.samples


def _speed(run: Run) -> Iterator[_Measure]:
    if speed := run.speed:
        yield run.identity.temperature, "tokens/s", None, speed.tokens_per_s, None, speed.samples
        yield run.identity.temperature, "samples/s", None, speed.samples_per_s, None, speed.samples
