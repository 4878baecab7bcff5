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
    named,
    perplexity,
    rate,
    temperature,
)
from cgcli.evals.report.published import Published, beside
from cgcli.evals.report.runs import Run

TURNS = ("multi", "single")
_ABOUT = (
    "Problems given as several prompts: multi is a completion after each prompt, single all prompts first and then one "
    "completion (how the paper joined them it does not say; here each is a comment of its own). A pass rate is the "
    "mean over problems. Gain is multi less single in points, over the problems that were tried both ways."
)
_ODD = "Some published problems are odd, and stay as they are: they are listed below the tables."
_WHAT = "model", "quant", "temperature"
_RATES = *_WHAT, "rules", "problems", "samples", "multi", "single", "gain"
_SURPRISE = *_WHAT, "multi", "single"
_HARDNESS = "easy", "medium", "hard"
_QUARTERS = "lowest quarter", "second", "third", "highest quarter"
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
    rates, surprises = list[tuple[str, ...]](), list[tuple[str, ...]]()
    lines = []
    for own, published in beside(runs, (one for one in others if one.benchmark == "mtpb")):
        for run in own:
            rates.append(_rates(run))
            surprises.append(_surprises(run))
            ways = {turns: {**way, "value": way["pass@1"]} for turns, way in run.analysis["turns"].items()}
            lines.append(Line(_name(run), _marks(ways)))
        if published:
            values = {one.measure: one.value for one in published}
            model, source = published[0].model, sources.cite(published[0].source)
            what = model, f"published {source}", ""
            rates.append((*what, "", "", "", *(rate(values.get(f"pass/{turns}")) for turns in TURNS), ""))
            of_prompts = [perplexity(values.get(f"perplexity/{turns}/all")) for turns in TURNS]
            if set(of_prompts) != {NONE}:
                surprises.append((*what, *of_prompts))
            found = ((turns, values.get(f"pass/{turns}")) for turns in TURNS)
            marks = tuple(Mark(turns, value, published=True) for turns, value in found if value is not None)
            lines.append(Line(f"{model}, published", marks))
    tables = (
        Table("MTPB: pass rate in per cent", _RATES, rates, labels=4),
        Table("MTPB: mean perplexity of the prompts", _SURPRISE, surprises, labels=3),
    )
    about = "pass rate in several turns and in one, of each run with its interval, and as published"
    odd = oddities({problem for run in runs for problem in run.problems})
    listed = [f"#{number}: {what}" for number, what in odd.items()]
    text = (_ABOUT, _ODD) if odd else (_ABOUT,)
    yield Section("MTPB", text, tables, [Chart("MTPB, pass rate", about, lines)], listed)
    for run in runs:
        yield _of(run)


def _what(run: Run) -> tuple[str, ...]:
    return run.label, run.identity.quant, temperature(run.identity.temperature)


def _rates(run: Run) -> tuple[str, ...]:
    ways = [run.analysis["turns"].get(turns) for turns in TURNS]
    samples = " + ".join(count(way["n_samples"] if way else 0) for way in ways)
    rates = (rate(way["pass@1"], way["interval"]) if way else NONE for way in ways)
    more = gain(run)
    problems = count(len(run.problems))
    return *_what(run), run.identity.rules or NONE, problems, samples, *rates, difference(more) if more else NONE


def _surprises(run: Run) -> tuple[str, ...]:
    ways = [run.analysis["turns"].get(turns) for turns in TURNS]
    found = (perplexity(way["prompt_perplexity"]["all"]["value"]) if way else NONE for way in ways)
    return *_what(run), *found


def _of(run: Run) -> Section:
    tables, charts, text = [], [], [_DIFFICULTY]
    for by, what in _BY.items():
        groups = _groups(run, by)
        if list(groups) == ["unknown"]:
            text.append("The rows do not tell their problems' categories: --data FILE, with MTPB's file, adds them.")
        elif groups:
            tables.append(_table(run, what, groups))
            about = f"pass rate by {what}, with intervals"
            charts.append(Chart(f"By {what}", about, [Line(group, _marks(ways)) for group, ways in groups.items()]))
    return Section(f"MTPB, {_name(run)}", text, [*tables, _surprise(run)], charts)


def _name(run: Run) -> str:
    return named(run.label, run.identity.quant, run.identity.temperature)


_Ways = Mapping[str, Mapping[str, Any]]
"""What `analysis` says of a group, by way of turns."""


def _groups(run: Run, by: str) -> Mapping[str, _Ways]:
    """By the group's name."""
    found: dict[str, dict[str, Any]] = {}
    for turns, way in run.analysis["turns"].items():
        groups = way[f"by_{by}"]
        if isinstance(groups, list):
            groups = dict(zip(_QUARTERS, groups, strict=False))
        for group, one in groups.items():
            found.setdefault(f"{group} turns" if by == "number_of_turns" else group, {})[turns] = one
    return {group: found[group] for group in (_HARDNESS if by == "difficulty" else found) if group in found}


def _marks(ways: _Ways) -> tuple[Mark, ...]:
    told = ((turns, one) for turns, one in ways.items() if one["value"] is not None)
    return tuple(Mark(turns, one["value"], *(one["interval"] or ())) for turns, one in told)


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
