"""Published numbers to compare with measured ones, each with its source. Only numbers read at that source are here.

HumanEval's pass@1 comes from the catalog. Cells of the paper (arXiv 2203.13474) that could not be read are missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cgcli.evals.report.runs import Benchmark, EvalRun
from cgcli.hub.catalog import Card, load_catalog

PAPER = tuple(f"codegen-{size}-mono" for size in ("350m", "2b", "6b", "16b"))
"""Models whose published numbers are always shown."""

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
