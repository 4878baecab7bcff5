"""A whole report, from the runs: what there is, each benchmark, verdicts, speed, and how to do it again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cgcli.core.units import plural
from cgcli.evals.passk import DRAWS, LEVEL
from cgcli.evals.report import humaneval, mtpb
from cgcli.evals.report.parts import (
    NONE,
    Chart,
    Line,
    Mark,
    Section,
    Sources,
    Table,
    count,
    temperature,
)
from cgcli.evals.report.published import Published
from cgcli.evals.report.repeat import commands
from cgcli.evals.report.runs import PROBLEMS, Run

_INTERVALS = (
    f"Numbers in brackets are {100 * LEVEL:.0f} % intervals: the problems drawn anew {DRAWS:,} times, each with all "
    "its samples (bootstrap). They say how sure a number is as far as other problems go, not other machines or builds. "
    "Where all problems pass alike there is none."
)
_REST = "other"
_SHOWN = ("passed", "wrong answer", "exception")
"""Verdicts that have a colour of their own."""


def sections(runs: Sequence[Run], others: Sequence[Published]) -> Iterator[Section]:
    """In the order in which they are read. others: published numbers to stand beside the runs'."""
    sources = Sources()
    yield _runs(runs)
    if own := _of(runs, "humaneval"):
        yield humaneval.section(own, others, sources)
    if own := _of(runs, "mtpb"):
        yield from mtpb.sections(own, others, sources)
    yield _verdicts(runs)
    yield _speed(runs)
    yield _repeat(runs)
    if sources.all:
        yield Section("Sources", listed=[f"[{number}] {source}" for number, source in enumerate(sources.all, 1)])


def _of(runs: Sequence[Run], benchmark: str) -> list[Run]:
    return [run for run in runs if run.identity.benchmark == benchmark]


def _runs(runs: Sequence[Run]) -> Section:
    rows = [
        (
            run.identity.title,
            run.label,
            run.identity.quant or NONE,
            ", ".join(map(temperature, run.temperatures)),
            count(len(run.problems)),
            count(run.samples),
            f"{100 * run.verdicts.get('passed', 0) / run.samples:.1f}",
        )
        for run in runs
    ]
    header = ("benchmark", "model", "quant", "temperature", "problems", "samples", "samples that pass, %")
    told = list(dict.fromkeys(line for run in runs for line in _gaps(run)))
    return Section("Runs", (_INTERVALS,), [Table("What was run", header, rows, labels=4)], listed=told)


def _gaps(run: Run) -> Iterator[str]:
    """What a reader would not see from the numbers."""
    name = f"{run.identity.title}, {run.label}"
    counts = {len(part.problems) for part in run.parts.values()}
    if min(counts) < (every := PROBLEMS[run.identity.benchmark]):
        asked = " to ".join(map(str, sorted({min(counts), max(counts)})))
        yield f"{name}: {asked} of {every} problems: not to be compared with published numbers"
    if len(counts) > 1:
        yield f"{name}: not each temperature was asked the same problems, so only those compare that were asked all"
    if run.unjudged:
        hint = "; ".join(f"cgcli eval {run.identity.benchmark} --judge {path}" for path in run.files)
        yield f"{name}: {plural(run.unjudged, 'sample')} without a verdict not counted; type: {hint}"
    if run.repeated:
        yield f"{name}: {plural(run.repeated, 'sample')} found more than once, counted once"
    if run.healed:
        yield f"{name}: the last line end of each prompt was left to the model, since its tokenizer needs that"


def _verdicts(runs: Sequence[Run]) -> Section:
    outcomes = list(dict.fromkeys(outcome for run in runs for outcome in run.verdicts))
    rows = [
        (
            run.identity.title,
            run.label,
            run.identity.quant or NONE,
            *(count(run.verdicts.get(one, 0)) for one in outcomes),
        )
        for run in runs
    ]
    lines = []
    for run in runs:
        parts = {name: run.verdicts.get(name, 0) / run.samples for name in _SHOWN}
        marks = tuple(Mark(name, part) for name, part in (parts | {_REST: 1 - sum(parts.values())}).items())
        lines.append(Line(f"{run.identity.title}, {run.label} {run.identity.quant}", marks))
    table = Table("Verdicts: samples", ("benchmark", "model", "quant", *outcomes), rows, labels=3)
    about = "what part of each run's samples passed, gave a wrong answer, ended in an exception, or in another way"
    return Section("Verdicts", (), [table], [Chart("Verdicts, part of samples", about, lines, stacked=True)])


def _speed(runs: Sequence[Run]) -> Section:
    rows = []
    for run in runs:
        speed = run.speed
        rates = (f"{speed.tokens_per_s:.1f}", f"{speed.samples_per_s:.2f}") if speed else (NONE, NONE)
        names = run.identity.title, run.label, run.identity.quant or NONE, ", ".join(sorted(run.machines)) or "not told"
        rows.append((*names, count(run.tokens), *rates, f"{1000 * run.cpu_s / run.samples:.0f}"))
    header = (
        "benchmark",
        "model",
        "quant",
        "machine",
        "tokens",
        "tokens/s",
        "samples/s",
        "judging, CPU ms",
    )
    text = [
        "Drawing by the clock, side by side; tokens are those kept. Judging is processor time a sample, start included."
    ]
    if not all(run.speed for run in runs):
        text.append("Where there is no rate, the rows do not say how long they took.")
    return Section("Speed", text, [Table("Speed", header, rows, labels=4)])


def _repeat(runs: Sequence[Run]) -> Section:
    rows = []
    for run in runs:
        known = run.identity
        how = (known.top_p, known.top_k, known.min_p, known.max_tokens)
        seed = NONE if known.seed is None else str(known.seed)
        cells = (NONE if value is None else f"{value:g}" for value in how)
        rows.append((known.title, run.label, known.sha256[:16] or NONE, seed, *cells, known.rules or NONE))
    header = ("benchmark", "model", "sha256", "seed", "top-p", "top-k", "min-p", "max tokens", "rules")
    typed = [command for run in runs for command in commands(run)]
    text = ("Seeds fix the draws; texts follow where the logits are the same bits, as on the same machine and build.",)
    return Section("To repeat it", text, [Table("Settings", header, rows, labels=3)], commands=typed)
