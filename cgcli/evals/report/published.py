"""Published numbers to stand beside measured ones, each with where it was read. Only what somebody read there is here.

pass@1 of HumanEval is the catalog's. The paper's (arXiv 2203.13474) other cells were not at hand, and are absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cgcli.evals.report.runs import Benchmark, Run
from cgcli.hub.catalog import Card, load_catalog

PAPER = tuple(f"codegen-{size}-mono" for size in ("350m", "2b", "6b", "16b"))
"""Whom its two benchmarks are shown for, whatever was run."""

_MORE = {  # pass@10 and pass@100, from the table that the catalog's pass@1 is from
    "codegen-350m-mono": (23.11, 35.19),
    "codegen-2b-mono": (36.64, 57.01),
    "codegen-6b-mono": (42.29, 65.82),
    "codegen-16b-mono": (49.86, 75.00),
    "codegen2-1b": (15.1, 24.7),
    "codegen2-3.7b": (23.9, 38.6),
    "codegen2-7b": (30.9, 50.9),
}
_MTPB_SOURCE = "arXiv 2203.13474, Tables 2 and 4, as quoted by https://ai-paper-delta.vercel.app/en/papers/2203.13474"
_MTPB = {
    "codegen-350m-mono": {"multi": 16.98, "single": 5.75},
    "codegen-2b-mono": {"multi": 38.72},
    "codegen-6b-mono": {"multi": 43.52},
    "codegen-16b-mono": {"multi": 47.34, "single": 38.74},
}
_PERPLEXITY = {"codegen-16b-mono": {"multi": 8.05, "single": 10.25}}


@dataclass(frozen=True)
class Published:
    """A published number. measure, k, value: as in `Number`, so rates are fractions."""

    benchmark: Benchmark
    model: str
    measure: str
    k: int | None
    value: float
    source: str


def published(runs: Iterable[Run]) -> list[Published]:
    """What is known of these models by these benchmarks, and of the paper's own for Python, which come last."""
    models, benchmarks = [], set()
    for run in runs:
        models.append(run.identity.model)
        benchmarks.add(run.identity.benchmark)
    cards = filter(None, map(load_catalog().get, dict.fromkeys([*models, *PAPER])))
    return [one for card in cards for one in _of(card) if one.benchmark in benchmarks]


def _of(card: Card) -> Iterator[Published]:
    if score := card.human_eval:
        for k, value in zip((1, 10, 100), (score.pass_at_1, *_MORE.get(card.name, ())), strict=False):
            yield Published("humaneval", card.name, "pass@k", k, _part(value), score.source)
    for turns, value in _MTPB.get(card.name, {}).items():
        yield Published("mtpb", card.name, f"pass/{turns}", None, _part(value), _MTPB_SOURCE)
    for turns, value in _PERPLEXITY.get(card.name, {}).items():
        yield Published("mtpb", card.name, f"perplexity/{turns}/all", None, value, _MTPB_SOURCE)


def beside(runs: Iterable[Run], others: Iterable[Published]) -> Iterator[tuple[list[Run], list[Published]]]:
    """A model's runs with what was published of it, then models that only others ran."""
    own: dict[str, list[Run]] = {}
    theirs: dict[str, list[Published]] = {}
    for run in runs:
        own.setdefault(run.identity.model, []).append(run)
    for one in others:
        theirs.setdefault(one.model, []).append(one)
    for model in dict.fromkeys([*own, *theirs]):
        yield own.get(model, []), theirs.get(model, [])


def _part(per_cent: float) -> float:
    return round(per_cent / 100, 6)
