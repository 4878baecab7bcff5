"""A report's sections on HumanEval and MTPB: measured numbers with their intervals, beside published ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cgcli.evals.humaneval import KS
from cgcli.evals.mtpb import oddities
from cgcli.evals.mtpb_analysis import EASY, HARD
from cgcli.evals.report.numbers import GROUPS, PublishedNumber, gain, group_by_model
from cgcli.evals.report.parts import (
    NONE,
    Chart,
    Line,
    Mark,
    Section,
    Sources,
    Table,
    count_text,
    difference,
    mean_rate,
    perplexity_text,
    rate,
    run_name,
    temperature_text,
)
from cgcli.evals.report.runs import EvalRun

TURNS = ("multi", "single")
_MODEL = "model", "quant", "temperature"
_HUMANEVAL = (
    "HumanEval asks for functions and checks them with its own tests. pass@k is the probability that at least one of k "
    "samples passes, by the unbiased estimator; it needs k samples of every problem. The paper reports the best of "
    "temperatures 0.2, 0.6 and 0.8 for models that are not quantized."
)
_MTPB = (
    "MTPB gives a task as several prompts. Multi: a completion after each prompt. Single: all prompts first, then one "
    "completion (the paper does not say how it joined the prompts; here each is a comment of its own). A pass rate is "
    "the mean over problems. Gain is multi minus single in percentage points, over the problems sampled both ways."
)
_ODD = "Some published problems have faults, which are kept as they are and listed below the tables."
_DIFFICULTY = (
    f"Difficulty is relative to this run: a problem is hard if less than {100 * HARD:.0f} % of its samples pass, and "
    f"easy if more than {100 * EASY:.0f} % do, multi and single together. Compare multi with single within a group, "
    "not one group with another."
)
_DIFFICULTIES = "easy", "medium", "hard"
_QUARTERS = "lowest quarter", "second", "third", "highest quarter"
_GROUPINGS = {
    **{group: group.replace("_", " ") for group in GROUPS},
    "perplexity_quartile": "perplexity of the prompts",
}


# --- HumanEval


def humaneval_section(runs: Sequence[EvalRun], published: Sequence[PublishedNumber], sources: Sources) -> Section:
    """`runs` are HumanEval's; `published` may have numbers of any benchmark."""
    ks = [k for k in KS if any(k in run.totals.ks for run in runs)]
    rows: list[tuple[str, ...]] = []
    lines: dict[int, list[Line]] = {k: [] for k in ks}
    for own, theirs in group_by_model(runs, [number for number in published if number.measure == "pass@k"]):
        for run in own:
            rows += _pass_at_k_rows(run, ks)
            for k in ks:
                lines[k] += _pass_at_k_lines(run, k)
        if theirs:
            model, source = theirs[0].model, sources.cite(theirs[0].source)
            values = {number.k: number.value for number in theirs if number.k in lines}
            rows.append((model, f"published {source}", "", "", "", *(rate(values.get(k)) for k in ks)))
            for k, value in values.items():
                lines[k].append(Line(f"{model}, published", (Mark(f"pass@{k}", value, published=True),)))
    header = (*_MODEL, "problems", "samples", *(f"pass@{k}" for k in ks))
    table = Table("HumanEval: pass@k, %", header, rows, labels=3)
    about = "of each run with its interval, and as published"
    charts = [Chart(f"HumanEval, pass@{k}", f"pass@{k} {about}", own) for k, own in lines.items()]
    return Section("HumanEval", (_HUMANEVAL,), [table], charts)


def _pass_at_k_rows(run: EvalRun, ks: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """A row per temperature, then the best of them, as the paper reports it."""
    names, totals = (run.label, run.identity.quant), run.totals
    for value, tally in totals.sorted():
        rates = (mean_rate(tally.pass_at(k)) for k in ks)
        yield *names, temperature_text(value), count_text(len(tally.drawn)), count_text(tally.samples), *rates
    if len(totals.comparable) > 1:
        best = (mean_rate(found[1] if (found := totals.best(k)) else None) for k in ks)
        yield *names, "best for each k", count_text(totals.problems), count_text(totals.samples), *best


def _pass_at_k_lines(run: EvalRun, k: int) -> Iterator[Line]:
    for value, tally in run.totals.sorted():
        if found := tally.pass_at(k):
            mark = Mark(f"pass@{k}", found.value, *(found.interval or ()))
            yield Line(run_name(run.label, run.identity.quant, value), (mark,))


# --- MTPB

_ByTurns = Mapping[str, Mapping[str, Any]]
"""Numbers of `mtpb_analysis.analyze` for multi and single."""


def mtpb_sections(runs: Sequence[EvalRun], published: Sequence[PublishedNumber], sources: Sources) -> Iterator[Section]:
    """A section on all runs, then one on each. `runs` are MTPB's; `published` may have numbers of any benchmark."""
    rates, perplexities = list[tuple[str, ...]](), list[tuple[str, ...]]()
    lines = []
    for own, theirs in group_by_model(runs, (number for number in published if number.benchmark == "mtpb")):
        for run in own:
            rates.append(_rate_row(run))
            perplexities.append(_perplexity_row(run))
            by_turns = {turns: {**one, "value": one["pass@1"]} for turns, one in run.analysis["turns"].items()}
            lines.append(Line(_name(run), _marks(by_turns)))
        if theirs:
            values = {number.measure: number.value for number in theirs}
            model, source = theirs[0].model, sources.cite(theirs[0].source)
            names = model, f"published {source}", ""
            rates.append((*names, "", "", "", *(rate(values.get(f"pass/{turns}")) for turns in TURNS), ""))
            of_prompts = [perplexity_text(values.get(f"perplexity/{turns}/all")) for turns in TURNS]
            if set(of_prompts) != {NONE}:
                perplexities.append((*names, *of_prompts))
            found = ((turns, values.get(f"pass/{turns}")) for turns in TURNS)
            marks = tuple(Mark(turns, value, published=True) for turns, value in found if value is not None)
            lines.append(Line(f"{model}, published", marks))
    tables = (
        Table("MTPB: pass rate, %", (*_MODEL, "rules", "problems", "samples", *TURNS, "gain"), rates, labels=4),
        Table("MTPB: mean perplexity of the prompts", (*_MODEL, *TURNS), perplexities, labels=3),
    )
    about = "multi-turn and single-turn pass rate of each run with its interval, and as published"
    odd = oddities({problem for run in runs for problem in run.problems})
    listed = [f"Problem {number}: {text}" for number, text in odd.items()]
    text = (_MTPB, _ODD) if odd else (_MTPB,)
    yield Section("MTPB", text, tables, [Chart("MTPB, pass rate", about, lines)], listed)
    for run in runs:
        yield _groups_section(run)


def _model_cells(run: EvalRun) -> tuple[str, ...]:
    return run.label, run.identity.quant, temperature_text(run.identity.temperature)


def _rate_row(run: EvalRun) -> tuple[str, ...]:
    by_turns = [run.analysis["turns"].get(turns) for turns in TURNS]
    samples = " + ".join(count_text(one["n_samples"] if one else 0) for one in by_turns)
    rates = (rate(one["pass@1"], one["interval"]) if one else NONE for one in by_turns)
    more = gain(run)
    problems = count_text(len(run.problems))
    return *_model_cells(run), run.identity.rules or NONE, problems, samples, *rates, difference(more) if more else NONE


def _perplexity_row(run: EvalRun) -> tuple[str, ...]:
    by_turns = [run.analysis["turns"].get(turns) for turns in TURNS]
    found = (perplexity_text(one["prompt_perplexity"]["all"]["value"]) if one else NONE for one in by_turns)
    return *_model_cells(run), *found


def _groups_section(run: EvalRun) -> Section:
    """Pass rates of one run by category, number of turns, difficulty and perplexity."""
    tables, charts, text = [], [], [_DIFFICULTY]
    for grouping, title in _GROUPINGS.items():
        groups = _groups(run, grouping)
        if list(groups) == ["unknown"]:
            text.append("The samples do not record categories; --data FILE, with MTPB's problems, adds them.")
        elif groups:
            tables.append(_group_table(run, title, groups))
            about = f"pass rate by {title}, with intervals"
            lines = [Line(group, _marks(by_turns)) for group, by_turns in groups.items()]
            charts.append(Chart(f"By {title}", about, lines))
    return Section(f"MTPB, {_name(run)}", text, [*tables, _outcome_table(run)], charts)


def _name(run: EvalRun) -> str:
    return run_name(run.label, run.identity.quant, run.identity.temperature)


def _groups(run: EvalRun, grouping: str) -> Mapping[str, _ByTurns]:
    """The groups' numbers, by the group's name."""
    found: dict[str, dict[str, Any]] = {}
    for turns, analysis in run.analysis["turns"].items():
        groups = analysis[f"by_{grouping}"]
        if isinstance(groups, list):
            groups = dict(zip(_QUARTERS, groups, strict=False))
        for group, one in groups.items():
            found.setdefault(f"{group} turns" if grouping == "number_of_turns" else group, {})[turns] = one
    return {group: found[group] for group in (_DIFFICULTIES if grouping == "difficulty" else found) if group in found}


def _marks(by_turns: _ByTurns) -> tuple[Mark, ...]:
    known = ((turns, one) for turns, one in by_turns.items() if one["value"] is not None)
    return tuple(Mark(turns, one["value"], *(one["interval"] or ())) for turns, one in known)


def _group_table(run: EvalRun, title: str, groups: Mapping[str, _ByTurns]) -> Table:
    """A row per group: for multi and for single the pass rate, and the number of samples or the perplexities."""
    present = [turns for turns in TURNS if turns in run.analysis["turns"]]
    second = "perplexities" if any("from" in one for by in groups.values() for one in by.values()) else "samples"
    rows = [
        (group, *(cell for turns in present for cell in _group_cells(by.get(turns)))) for group, by in groups.items()
    ]
    header = (title, *(name for turns in present for name in (turns, second)))
    return Table(f"Pass rate by {title}, %", header, rows)


def _group_cells(one: Mapping[str, Any] | None) -> tuple[str, str]:
    if one is None:
        return NONE, NONE
    second = f"{one['from']:.2f}–{one['to']:.2f}" if "from" in one else count_text(one["n_samples"])
    return rate(one["value"], one["interval"]), second


def _outcome_table(run: EvalRun) -> Table:
    """The prompts' perplexity of samples that passed and of those that failed."""
    rows = []
    for turns, analysis in run.analysis["turns"].items():
        for outcome, one in analysis["prompt_perplexity"].items():
            rows.append((turns, outcome, count_text(one["n_samples"]), perplexity_text(one["value"], one["interval"])))
    return Table("Mean perplexity of the prompts", ("turns", "outcome", "samples", "perplexity"), rows, labels=2)
