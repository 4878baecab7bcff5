"""All numbers of a report, measured and published, in one table; and the commands that repeat each run.

Only published numbers that were read at their source are here. HumanEval's pass@1 comes from the catalog. Cells of the
paper (arXiv 2203.13474) that could not be read are missing.
"""

from __future__ import annotations

import csv
import io
import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from typing import Any, NamedTuple

from cgcli.evals.humaneval import KS
from cgcli.evals.mtpb_analysis import problem_rates
from cgcli.evals.passk import Mean, bootstrap_mean
from cgcli.evals.report.runs import PROBLEMS, Benchmark, EvalRun
from cgcli.hub.catalog import Card, load_catalog

PAPER = tuple(f"codegen-{size}-mono" for size in ("350m", "2b", "6b", "16b"))
"""Models whose published numbers are always shown."""
GROUPS = ("category", "number_of_turns", "difficulty")
"""Groups of MTPB's problems; `analyze` has them as `by_GROUP`."""
_FIRST = {"humaneval": 0, "mtpb": 1}  # the number of a benchmark's first problem

_PASS_AT_10_AND_100 = {  # in per cent, from the same table as the catalog's pass@1
    "codegen-350m-mono": (23.11, 35.19),
    "codegen-2b-mono": (36.64, 57.01),
    "codegen-6b-mono": (42.29, 65.82),
    "codegen-16b-mono": (49.86, 75.00),
    "codegen2-1b": (15.1, 24.7),
    "codegen2-3.7b": (23.9, 38.6),
    "codegen2-7b": (30.9, 50.9),
}
_MTPB_SOURCE = "arXiv 2203.13474, Tables 2 and 4, as quoted by https://ai-paper-delta.vercel.app/en/papers/2203.13474"
_MTPB = {  # pass rates in per cent
    "codegen-350m-mono": {"multi": 16.98, "single": 5.75},
    "codegen-2b-mono": {"multi": 38.72},
    "codegen-6b-mono": {"multi": 43.52},
    "codegen-16b-mono": {"multi": 47.34, "single": 38.74},
}
_PERPLEXITY = {"codegen-16b-mono": {"multi": 8.05, "single": 10.25}}


@dataclass(frozen=True)
class PublishedNumber:
    """A number that the authors or others published."""

    benchmark: Benchmark
    model: str
    measure: str  # as in `Number`
    k: int | None
    value: float  # rates are fractions
    source: str


def published(runs: Iterable[EvalRun]) -> list[PublishedNumber]:
    """The published numbers of these models on these benchmarks, then those of the paper's own models for Python."""
    models, benchmarks = [], set()
    for run in runs:
        models.append(run.identity.model)
        benchmarks.add(run.identity.benchmark)
    cards = filter(None, map(load_catalog().get, dict.fromkeys([*models, *PAPER])))
    return [one for card in cards for one in _of(card) if one.benchmark in benchmarks]


def _of(card: Card) -> Iterator[PublishedNumber]:
    if score := card.human_eval:
        for k, value in zip((1, 10, 100), (score.pass_at_1, *_PASS_AT_10_AND_100.get(card.name, ())), strict=False):
            yield PublishedNumber("humaneval", card.name, "pass@k", k, _fraction(value), score.source)
    for turns, value in _MTPB.get(card.name, {}).items():
        yield PublishedNumber("mtpb", card.name, f"pass/{turns}", None, _fraction(value), _MTPB_SOURCE)
    for turns, value in _PERPLEXITY.get(card.name, {}).items():
        yield PublishedNumber("mtpb", card.name, f"perplexity/{turns}/all", None, value, _MTPB_SOURCE)


def group_by_model(
    runs: Iterable[EvalRun], numbers: Iterable[PublishedNumber]
) -> Iterator[tuple[list[EvalRun], list[PublishedNumber]]]:
    """Each model's runs and published numbers; models that have no runs come last."""
    own: dict[str, list[EvalRun]] = {}
    theirs: dict[str, list[PublishedNumber]] = {}
    for run in runs:
        own.setdefault(run.identity.model, []).append(run)
    for number in numbers:
        theirs.setdefault(number.model, []).append(number)
    for model in dict.fromkeys([*own, *theirs]):
        yield own.get(model, []), theirs.get(model, [])


def _fraction(per_cent: float) -> float:
    return round(per_cent / 100, 6)


@dataclass(frozen=True)
class Number:
    """A number of a run.

    The measures are `pass@k` and `best pass@k` (of the temperatures) for HumanEval; `pass/TURNS`,
    `pass/TURNS/BY/GROUP`, `perplexity/TURNS/OUTCOME` and `gain` (multi minus single) for MTPB; `verdict/OUTCOME` (a
    number of samples); `tokens/s` and `samples/s`; for published numbers `published/MEASURE`.
    """

    benchmark: str
    model: str  # the run's label
    quant: str
    temperature: float | None
    measure: str
    k: int | None
    value: float  # rates are fractions, perplexities per token
    low: float | None  # of the interval
    high: float | None
    n: int | None  # samples behind the number


def gain(run: EvalRun) -> Mean | None:
    """The multi-turn pass rate minus the single-turn one, over the problems drawn both ways; None if there are none."""
    multi, single = (
        problem_rates(result for result in run.results if result.turns == turns) for turns in ("multi", "single")
    )
    both = multi.keys() & single.keys()
    return bootstrap_mean([(multi[problem] - single[problem], 1) for problem in sorted(both)]) if both else None


def numbers(runs: Iterable[EvalRun], published: Iterable[PublishedNumber]) -> list[Number]:
    """The numbers of the runs, then the published ones."""
    measured = [number for run in runs for number in _numbers(run)]
    return measured + [
        Number(one.benchmark, one.model, "", None, f"published/{one.measure}", one.k, one.value, None, None, None)
        for one in published
    ]


def as_csv(found: Sequence[Number]) -> str:
    """The numbers with a header line; unknown values are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(Number))
    writer.writerows(map(astuple, found))
    return text.getvalue()


def as_json(runs: Iterable[EvalRun], found: Iterable[Number]) -> dict[str, object]:
    """The runs and the numbers; values that the rows do not have are None."""
    described = [
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
    return {"runs": described, "numbers": [asdict(number) for number in found]}


class _Measured(NamedTuple):
    """A `Number` without the fields that are the same for the whole run."""

    temperature: float | None
    measure: str
    k: int | None
    value: float
    interval: Sequence[float] | None
    n: int | None


def _numbers(run: EvalRun) -> Iterator[Number]:
    measured = _humaneval(run) if run.identity.benchmark == "humaneval" else _mtpb(run)
    for one in (*measured, *_speed(run)):
        identity, (low, high) = run.identity, one.interval or (None, None)
        names = identity.benchmark, run.label, identity.quant
        yield Number(*names, one.temperature, one.measure, one.k, one.value, low, high, one.n)


def _humaneval(run: EvalRun) -> Iterator[_Measured]:
    totals = run.totals
    for temperature, tally in totals.sorted():
        for k in KS:
            if found := tally.pass_at(k):
                yield _Measured(temperature, "pass@k", k, found.value, found.interval, tally.samples)
    if len(totals.comparable) > 1:
        for k in KS:
            if best := totals.best(k):
                temperature, found = best
                samples = totals.tallies[temperature].samples
                yield _Measured(temperature, "best pass@k", k, found.value, found.interval, samples)
    for outcome, count in run.verdicts.items():
        yield _Measured(None, f"verdict/{outcome}", None, count, None, run.samples)


def _mtpb(run: EvalRun) -> Iterator[_Measured]:
    temperature = run.identity.temperature

    def if_known(measure: str, one: Mapping[str, Any]) -> Iterator[_Measured]:
        if one["value"] is not None:
            yield _Measured(temperature, measure, None, one["value"], one["interval"], one["n_samples"])

    for turns, found in run.analysis["turns"].items():
        yield from if_known(f"pass/{turns}", {**found, "value": found["pass@1"]})
        for group in GROUPS:
            for name, one in found[f"by_{group}"].items():
                yield from if_known(f"pass/{turns}/{group}/{name}", one)
        for number, one in enumerate(found["by_perplexity_quartile"], 1):
            yield from if_known(f"pass/{turns}/perplexity_quartile/{number}", one)
        for outcome, one in found["prompt_perplexity"].items():
            yield from if_known(f"perplexity/{turns}/{outcome}", one)
    if more := gain(run):
        yield _Measured(temperature, "gain", None, more.value, more.interval, run.samples)
    for outcome, count in run.verdicts.items():
        yield _Measured(temperature, f"verdict/{outcome}", None, count, None, run.samples)


def _speed(run: EvalRun) -> Iterator[_Measured]:
    if speed := run.speed:
        temperature = run.identity.temperature
        yield _Measured(temperature, "tokens/s", None, speed.tokens_per_s, None, speed.samples)
        yield _Measured(temperature, "samples/s", None, speed.samples_per_s, None, speed.samples)


# --- commands


def commands(run: EvalRun) -> Iterator[str]:
    """The commands that draw the run's samples again: one for all temperatures with the same problems and number of
    samples. Yields nothing if the rows do not record enough."""
    identity = run.identity
    groups: dict[tuple[int, frozenset[str]], list[float]] = {}
    for temperature in run.temperatures if identity.quant and identity.seed is not None else ():
        coverage = run.coverage[temperature]
        if temperature is not None:
            groups.setdefault((coverage.samples_per_input, frozenset(coverage.problems)), []).append(temperature)
    for (samples, problems), temperatures in groups.items():
        words = ["cgcli", "eval", identity.benchmark, "-m", _model_option(run), "-n", str(samples)]
        for temperature in temperatures:
            words += ["-t", f"{temperature:g}"]
        for option, value in (("--top-p", identity.top_p), ("--max-tokens", identity.max_tokens)):
            words += [option, f"{value:g}"] if value is not None else []
        words += ["--seed", str(identity.seed), *(["--guard", "on"] if identity.guarded else [])]
        words += [] if run.ends_bars or identity.guarded else ["--to-the-letter"]
        if identity.benchmark == "mtpb":
            turns = sorted({result.turns for result in run.results})
            words += ["--turns", turns[0] if len(turns) == 1 else "both", "--rules", identity.rules or "paper"]
        if limit := _limit(identity.benchmark, problems):
            words += ["--limit", str(limit)]
        # top-k and min-p are passed as variables.
        variables = (("CGCLI_TOP_K", identity.top_k), ("CGCLI_MIN_P", identity.min_p))
        yield " ".join([*(f"{name}={value:g}" for name, value in variables if value), shlex.join(words)])


def _model_option(run: EvalRun) -> str:
    """The model as --model takes it: the path of a file, or a name with its quantization."""
    identity = run.identity
    return identity.model if identity.model.endswith(".gguf") else f"{identity.model}:{identity.quant}"


def _limit(benchmark: Benchmark, problems: Collection[str]) -> int | None:
    """The number of problems, if they are the first ones of the benchmark but not all."""
    first = _FIRST[benchmark]
    numbers = {int(found[0]) for found in (re.search(r"\d+$", name) for name in problems) if found}
    count = len(problems)
    return count if count < PROBLEMS[benchmark] and numbers == set(range(first, first + count)) else None
