"""What a report says of HumanEval: pass@k by model, quantization and temperature, beside what was published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cgcli.evals.humaneval import KS
from cgcli.evals.report.parts import (
    Chart,
    Line,
    Mark,
    Section,
    Sources,
    Table,
    count,
    named,
    rate,
    rate_of,
    temperature,
)
from cgcli.evals.report.published import Published, beside
from cgcli.evals.report.runs import Run

_ABOUT = (
    "Completions of HumanEval's functions that pass its tests. pass@k is the chance that of k samples at least one "
    "passes, by the unbiased estimator; a k that a problem has too few samples for is not shown. The "
    "paper's own numbers are each the best of temperatures 0.2, 0.6 and 0.8, of models that are not quantized."
)


def section(runs: Sequence[Run], others: Sequence[Published], sources: Sources) -> Section:
    """runs: HumanEval's. others: published numbers of any benchmark."""
    ks = [k for k in KS if any(k in run.totals.ks for run in runs)]
    theirs = [one for one in others if one.measure == "pass@k"]
    rows: list[tuple[str, ...]] = []
    lines: dict[int, list[Line]] = {k: [] for k in ks}
    for own, published in beside(runs, theirs):
        for run in own:
            rows += _rows(run, ks)
            for k in ks:
                lines[k] += _lines(run, k)
        if published:
            model, source = published[0].model, sources.cite(published[0].source)
            values = {one.k: one.value for one in published if one.k in lines}
            rows.append((model, f"published {source}", "", "", "", *(rate(values.get(k)) for k in ks)))
            for k, value in values.items():
                lines[k].append(Line(f"{model}, published", (Mark(f"pass@{k}", value, published=True),)))
    header = ("model", "quant", "temperature", "problems", "samples", *(f"pass@{k}" for k in ks))
    table = Table("HumanEval, pass@k in per cent", header, rows, labels=3)
    about = "of each run with its interval, and as published"
    charts = [Chart(f"HumanEval, pass@{k}", f"pass@{k} {about}", own) for k, own in lines.items()]
    return Section("HumanEval", (_ABOUT,), [table], charts)


def _rows(run: Run, ks: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """One for each temperature, then the best, as the paper reports them."""
    names, totals = (run.label, run.identity.quant), run.totals
    for one, tally in totals.sorted():
        rates = (rate_of(tally.pass_at(k)) for k in ks)
        yield *names, temperature(one), count(len(tally.drawn)), count(tally.samples), *rates
    if len(totals.comparable) > 1:
        best = (rate_of(found[1] if (found := totals.best(k)) else None) for k in ks)
        yield *names, "best for each k", count(totals.problems), count(totals.samples), *best


def _lines(run: Run, k: int) -> Iterator[Line]:
    for one, tally in run.totals.sorted():
        if found := tally.pass_at(k):
            mark = Mark(f"pass@{k}", found.value, *(found.interval or ()))
            yield Line(named(run.label, run.identity.quant, one), (mark,))
