"""The sections of a report: on evaluation runs, and on a training run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from cgcli.evals.passk import LEVEL, RESAMPLES
from cgcli.evals.report.benchmarks import humaneval_section, mtpb_sections
from cgcli.evals.report.numbers import PublishedNumber, commands
from cgcli.evals.report.parts import (
    NONE,
    Chart,
    Curve,
    Line,
    Mark,
    Section,
    Sources,
    Table,
    count_text,
    temperature_text,
)
from cgcli.evals.report.runs import PROBLEMS, Benchmark, EvalRun
from cgcli.terminal.text import clock, plural

if TYPE_CHECKING:
    from cgcli.train.metrics import StepMetrics

POINTS = 300  # of a curve at most; each point is then the mean of several steps
_INTERVALS = (
    f"Numbers in brackets are {100 * LEVEL:.0f} % bootstrap intervals: the problems are resampled {RESAMPLES:,} times, "
    "each with all of its samples. They show how much a result could differ on other problems of the same kind, not on "
    "other machines or builds. If all problems have the same result, there is no interval."
)
_OTHER = "other"
_COLORED = ("passed", "wrong answer", "exception")  # verdicts with a color of their own


def sections(runs: Sequence[EvalRun], published: Sequence[PublishedNumber]) -> Iterator[Section]:
    """The report on these runs, in reading order, with published numbers beside the measured ones."""
    sources = Sources()
    yield _overview(runs)
    if own := _runs_of(runs, "humaneval"):
        yield humaneval_section(own, published, sources)
    if own := _runs_of(runs, "mtpb"):
        yield from mtpb_sections(own, published, sources)
    yield _verdicts(runs)
    yield _speed(runs)
    yield _settings(runs)
    if sources.all:
        yield Section("Sources", listed=[f"[{number}] {source}" for number, source in enumerate(sources.all, 1)])


def _runs_of(runs: Sequence[EvalRun], benchmark: Benchmark) -> list[EvalRun]:
    return [run for run in runs if run.identity.benchmark == benchmark]


def _overview(runs: Sequence[EvalRun]) -> Section:
    rows = [
        (
            *_names(run),
            ", ".join(map(temperature_text, run.temperatures)),
            count_text(len(run.problems)),
            count_text(run.samples),
            f"{100 * run.verdicts.get('passed', 0) / run.samples:.1f}",
        )
        for run in runs
    ]
    header = ("benchmark", "model", "quant", "temperature", "problems", "samples", "passed, %")
    listed = list(dict.fromkeys(line for run in runs for line in caveats(run)))
    return Section("Runs", (_INTERVALS,), [Table("Overview", header, rows, labels=4)], listed=listed)


def _names(run: EvalRun) -> tuple[str, str, str]:
    return run.identity.title, run.label, run.identity.quant or NONE


def caveats(run: EvalRun) -> Iterator[str]:
    """Facts about a run that its numbers do not show."""
    name = f"{run.identity.title}, {run.label}"
    counts = {len(coverage.problems) for coverage in run.coverage.values()}
    if min(counts) < (total := PROBLEMS[run.identity.benchmark]):
        drawn = " to ".join(map(str, sorted({min(counts), max(counts)})))
        yield f"{name}: covers only {drawn} of {total} problems; not comparable with published numbers"
    if len(counts) > 1:
        yield f"{name}: temperatures cover different problems; the best is one that covers all of them"
    if run.unjudged:
        hint = "; ".join(f"cgcli eval {run.identity.benchmark} --judge {path}" for path in run.files)
        yield f"{name}: {plural(run.unjudged, 'sample')} not judged, so not counted; run: {hint}"
    if run.repeated:
        yield f"{name}: {plural(run.repeated, 'duplicate sample')} skipped"
    if run.identity.guarded:
        yield f"{name}: generated with --guard on, which regenerates lines that cannot run; published results are not"
    if run.ends_bars:
        yield f"{name}: completions end at a bar in a comment (see --to-the-letter), which changes no verdict"
    if run.healed:
        yield f"{name}: the model generated the last line end of each prompt itself, as its tokenizer requires"


def _verdicts(runs: Sequence[EvalRun]) -> Section:
    outcomes = list(dict.fromkeys(outcome for run in runs for outcome in run.verdicts))
    rows = [(*_names(run), *(count_text(run.verdicts.get(one, 0)) for one in outcomes)) for run in runs]
    lines = []
    for run in runs:
        shares = {name: run.verdicts.get(name, 0) / run.samples for name in _COLORED}
        marks = tuple(Mark(name, share) for name, share in (shares | {_OTHER: 1 - sum(shares.values())}).items())
        lines.append(Line(f"{run.identity.title}, {run.label} {run.identity.quant}", marks))
    table = Table("Samples by verdict", ("benchmark", "model", "quant", *outcomes), rows, labels=3)
    about = "the share of each run's samples that passed, gave a wrong answer, raised an exception, or ended otherwise"
    return Section("Verdicts", (), [table], [Chart("Share of samples by verdict", about, lines, stacked=True)])


def _speed(runs: Sequence[EvalRun]) -> Section:
    rows = []
    for run in runs:
        speed = run.speed
        rates = (f"{speed.tokens_per_s:.1f}", f"{speed.samples_per_s:.2f}") if speed else (NONE, NONE)
        machines = ", ".join(sorted(run.machines)) or "unknown"
        rows.append((*_names(run), machines, count_text(run.tokens), *rates, f"{1000 * run.cpu_s / run.samples:.0f}"))
    header = ("benchmark", "model", "quant", "machine", "tokens", "tokens/s", "samples/s", "judging, CPU ms/sample")
    text = [
        "tokens/s and samples/s are over the wall time of generating, with several samples at once. Judging is "
        "processor time and includes starting Python."
    ]
    if not all(run.speed for run in runs):
        text.append("Runs without a rate did not record their times.")
    return Section("Speed", text, [Table("Speed", header, rows, labels=4)])


def _settings(runs: Sequence[EvalRun]) -> Section:
    rows = []
    for run in runs:
        identity = run.identity
        values = (identity.top_p, identity.top_k, identity.min_p, identity.max_tokens)
        seed = NONE if identity.seed is None else str(identity.seed)
        cells = (NONE if value is None else f"{value:g}" for value in values)
        rows.append((identity.title, run.label, identity.sha256[:16] or NONE, seed, *cells, identity.rules or NONE))
    header = ("benchmark", "model", "sha256", "seed", "top-p", "top-k", "min-p", "max tokens", "rules")
    text = (
        "These commands generate the samples again. A seed fixes the draws; the texts are identical if the logits are, "
        "as on the same machine with the same build.",
    )
    typed = [command for run in runs for command in commands(run)]
    return Section("How to repeat it", text, [Table("Settings", header, rows, labels=3)], commands=typed)


# --- training


def training_section(rows: Sequence[StepMetrics], title: str) -> Section:
    """Curves and final numbers of a training run, from its steps in order. Needs at least one step."""
    size = -(-len(rows) // POINTS)
    groups = [rows[at : at + size] for at in range(0, len(rows), size)]
    charts = (
        _curve("Loss, nats/token", groups, lambda row: row.loss),
        _curve("Gradient norm before clipping", groups, lambda row: row.grad_norm),
        _curve("Learning rate", groups, lambda row: row.lr),
        _curve("Tokens/s", groups, lambda row: row.tokens_per_s, unit="{:,.0f}"),
    )
    last, end = rows[-1], rows[-size:]
    numbers = (
        ("steps", count_text(last.step)),
        ("tokens", count_text(last.tokens)),
        ("time", clock(last.seconds)),
        ("tokens/s", count_text(last.tokens / last.seconds if last.seconds > 0 else 0)),
        ("share of the device's peak FLOP/s", f"{100 * fmean(row.peak_share for row in rows):.0f} %"),
        ("last loss" if size == 1 else f"loss, mean of the last {size} steps", f"{fmean(row.loss for row in end):.4f}"),
    )
    text = [f"Each point is the mean of up to {size} steps."] if size > 1 else []
    table = Table("Summary", ("", "total"), numbers)
    return Section(title, text, [table], list(filter(None, charts)))


def _curve(
    title: str,
    groups: Sequence[Sequence[StepMetrics]],
    value: Callable[[StepMetrics], float | None],
    unit: str = "{:.3g}",
) -> Curve | None:
    """A point for each group of steps that has the value; None if no step has it."""
    points = []
    for group in groups:
        found = [number for row in group if (number := value(row)) is not None]
        if found:
            points.append((group[-1].step, fmean(found)))
    if not points:
        return None
    first, last = (unit.format(points[at][1]) for at in (0, -1))
    return Curve(title, f"{title}, by step: from {first} to {last}", points, unit)
