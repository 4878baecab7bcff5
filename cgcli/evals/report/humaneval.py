"""What a report says of HumanEval: pass@k by model, quantization and temperature, beside what was published."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cgcli.evals.humaneval import KS
from cgcli.evals.report.parts import (
    Chart,
    Line,
    Mark,
    Section,
    Sources,
    Table,
    count,
    rate,
    rate_of,
    temperature,
    warmth,
)
from cgcli.evals.report.published import Published
from cgcli.evals.report.runs import Run

_ABOUT = (
    "Completions of HumanEval's functions that pass its tests. pass@k is the chance that of k samples at least one "
    "passes, by the unbiased estimator; a k that a problem has too few samples for is not shown."
)


def section(runs: Sequence[Run], others: Sequence[Published], sources: Sources) -> Section:
    """runs: HumanEval's. others: published numbers of any benchmark."""
    ks = [k for k in KS if any(run.totals.best(k) for run in runs)]
    theirs = [one for one in others if one.measure == "pass@k"]
    tables = [_measured(runs, ks), _published(theirs, sources)]
    return Section("HumanEval", (_ABOUT,), tables, [_chart(runs, theirs, k) for k in ks])


def _measured(runs: Iterable[Run], ks: Sequence[int]) -> Table:
    rows = []
    for run in runs:
        names = run.label, run.identity.quant
        for one, tally in run.totals.sorted():
            rates = (rate_of(tally.pass_at(k)) for k in ks)
            rows.append((*names, temperature(one), count(len(tally.drawn)), count(tally.samples), *rates))
        if len(run.totals.tallies) > 1:
            best = (rate_of(found[1] if (found := run.totals.best(k)) else None) for k in ks)
            rows.append((*names, "best for each k", count(run.totals.problems), count(run.totals.samples), *best))
    header = ("model", "quant", "temperature", "problems", "samples", *(f"pass@{k}" for k in ks))
    return Table("HumanEval, measured: pass@k in per cent", header, rows, labels=3)


def _published(others: Sequence[Published], sources: Sources) -> Table:
    rows = []
    for model in dict.fromkeys(one.model for one in others):
        values = {one.k: one.value for one in others if one.model == model}
        source = next(one.source for one in others if one.model == model)
        rows.append((model, sources.cite(source), *(rate(values.get(k)) for k in KS)))
    header = ("model", "source", *(f"pass@{k}" for k in KS))
    return Table("HumanEval, published: pass@k in per cent", header, rows, labels=2)


def _chart(runs: Iterable[Run], others: Iterable[Published], k: int) -> Chart:
    lines = [
        Line(
            f"{run.label} {run.identity.quant}, {warmth(one)}", (Mark(f"pass@{k}", found.value, found.low, found.high),)
        )
        for run in runs
        for one, tally in run.totals.sorted()
        if (found := tally.pass_at(k))
    ]
    lines += [Line(one.model, (Mark(f"pass@{k}", one.value, published=True),)) for one in others if one.k == k]
    return Chart(f"HumanEval, pass@{k}", f"pass@{k} of each run with its interval, and published values", lines)
