"""What a report says of MTPB: several turns against one, by category, turns, difficulty and prompt perplexity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cgcli.evals.analysis import EASY, HARD
from cgcli.evals.mtpb import oddities
from cgcli.evals.report.numbers import GROUPS, gain
from cgcli.evals.report.parts import (
    NONE,
    Chart,
    Line,
    Mark,
    Section,
    Sources,
    Table,
    count,
    difference,
    perplexity,
    rate,
    warmth,
)
from cgcli.evals.report.published import Published
from cgcli.evals.report.runs import Run

TURNS = ("multi", "single")
_ABOUT = (
    "Problems given as several prompts: multi is a completion after each prompt, single all prompts first and then one "
    "completion (how the paper joined them it does not say; here each is a comment of its own). A pass rate is the "
    "mean over problems. Gain is multi less single in points, over the problems that were tried both ways."
)
_DIFFICULTY = (
    f"Difficulty is of the run itself: a problem is hard below a pass rate of {100 * HARD:.0f} % over both ways, easy "
    f"above {100 * EASY:.0f} %. Compare the ways within a group, not the groups."
)
_BY = {
    **{by: by.replace("_", " ") for by in GROUPS},
    "perplexity_quartile": "perplexity of the prompts",
}


def sections(runs: Sequence[Run], others: Sequence[Published], sources: Sources) -> Iterator[Section]:
    """One of all runs, and one of each. runs: MTPB's. others: published numbers of any benchmark."""
    theirs = [one for one in others if one.benchmark == "mtpb"]
    odd = oddities({problem for run in runs for problem in run.problems})
    listed = [f"#{number}: {what}" for number, what in odd.items()]
    text = (_ABOUT, "The published problems have oddities, which are left as they are:") if odd else (_ABOUT,)
    yield Section("MTPB", text, [_measured(runs), _published(theirs, sources)], [_chart(runs, theirs)], listed)
    for run in runs:
        yield _of(run)


def _measured(runs: Sequence[Run]) -> Table:
    rows = []
    for run in runs:
        ways = [run.analysis["turns"].get(turns) for turns in TURNS]
        rates = (rate(way["pass@1"], way["interval"]) if way else NONE for way in ways)
        surprise = (perplexity(way["prompt_perplexity"]["all"]["value"]) if way else NONE for way in ways)
        more = gain(run)
        samples = (count(way["n_samples"] if way else 0) for way in ways)
        names = run.label, run.identity.quant, warmth(run.identity.temperature), run.identity.rules or NONE
        numbers = *rates, difference(more) if more else NONE, *surprise
        rows.append((*names, count(len(run.problems)), " + ".join(samples), *numbers))
    header = "model", "quant", "temperature", "rules", "problems", "samples", "multi", "single", "gain"
    return Table(
        "MTPB, measured: pass rate in per cent, and mean perplexity of the prompts",
        (*header, "perplexity, multi", "single"),
        rows,
        labels=4,
    )


def _published(others: Sequence[Published], sources: Sources) -> Table:
    rows = []
    for model in dict.fromkeys(one.model for one in others):
        own = {one.measure: one.value for one in others if one.model == model}
        source = next(one.source for one in others if one.model == model)
        rates = (rate(own.get(f"pass/{turns}")) for turns in TURNS)
        surprise = (perplexity(own.get(f"perplexity/{turns}/all")) for turns in TURNS)
        rows.append((model, sources.cite(source), *rates, *surprise))
    header = ("model", "source", "multi", "single", "perplexity, multi", "single")
    return Table("MTPB, published: pass rate in per cent, and mean perplexity of the prompts", header, rows, labels=2)


def _chart(runs: Sequence[Run], others: Sequence[Published]) -> Chart:
    lines = [
        Line(
            _name(run), _marks({turns: {**way, "value": way["pass@1"]} for turns, way in run.analysis["turns"].items()})
        )
        for run in runs
    ]
    for model in dict.fromkeys(one.model for one in others):
        own = {one.measure: one.value for one in others if one.model == model}
        found = ((turns, own.get(f"pass/{turns}")) for turns in TURNS)
        lines.append(Line(model, tuple(Mark(turns, value, published=True) for turns, value in found if value)))
    about = "pass rate in several turns and in one, of each run with its interval, and as published"
    return Chart("MTPB, pass rate", about, lines)


def _of(run: Run) -> Section:
    tables, charts, text = [], [], [_DIFFICULTY]
    for by, what in _BY.items():
        groups = _groups(run, by)
        if list(groups) == ["unknown"]:
            text.append("The rows do not tell their problems' categories: --data FILE, with MTPB's file, adds them.")
        elif groups:
            tables.append(_table(run, what, groups))
            about = f"pass rate by {what}, with intervals"
            charts.append(Chart(f"by {what}", about, [Line(group, _marks(ways)) for group, ways in groups.items()]))
    return Section(f"MTPB, {_name(run)}", text, [*tables, _surprise(run)], charts)


def _name(run: Run) -> str:
    return f"{run.label} {run.identity.quant}, {warmth(run.identity.temperature)}"


_Ways = Mapping[str, Mapping[str, Any]]
"""What `analysis` says of a group, by way of turns."""


def _groups(run: Run, by: str) -> Mapping[str, _Ways]:
    """By the group's name."""
    found: dict[str, dict[str, Any]] = {}
    for turns, way in run.analysis["turns"].items():
        groups = way[f"by_{by}"]
        if isinstance(groups, list):
            groups = {f"quarter {number}": one for number, one in enumerate(groups, 1)}
        for group, one in groups.items():
            found.setdefault(group, {})[turns] = one
    return found


def _marks(ways: _Ways) -> tuple[Mark, ...]:
    told = ((turns, one) for turns, one in ways.items() if one["value"] is not None)
    return tuple(Mark(turns, one["value"], *one["interval"]) for turns, one in told)


def _table(run: Run, what: str, groups: Mapping[str, _Ways]) -> Table:
    """A row a group; of each way its pass rate, then how many samples, or from where to where."""
    present = [turns for turns in TURNS if turns in run.analysis["turns"]]
    second = "perplexities" if any("from" in one for ways in groups.values() for one in ways.values()) else "samples"
    rows = [(group, *(cell for turns in present for cell in _cells(ways.get(turns)))) for group, ways in groups.items()]
    header = (what, *(name for turns in present for name in (turns, second)))
    return Table(f"Pass rate by {what}, in per cent", header, rows)


def _cells(one: Mapping[str, Any] | None) -> tuple[str, str]:
    if one is None:
        return NONE, NONE
    between = f"{one['from']:.2f}–{one['to']:.2f}" if "from" in one else count(one["n_samples"])
    return rate(one["value"], one["interval"]), between


def _surprise(run: Run) -> Table:
    """The prompts' perplexity of what passed and what did not."""
    rows = []
    for turns, way in run.analysis["turns"].items():
        for which, one in way["prompt_perplexity"].items():
            rows.append((turns, which, count(one["n_samples"]), perplexity(one["value"], one["interval"])))
    return Table("Mean perplexity of the prompts", ("turns", "of which", "samples", "perplexity"), rows, labels=2)
