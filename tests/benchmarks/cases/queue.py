"""A queue of mixed prompts, five samples of each as evaluation has: drawn together with caches apart as it draws them,
one by one, by create_completion.

Prompts of 16 to 512 tokens, 8 to 96 drawn; how many there are is REQUESTS, or 200.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cgcli.engine.engine import LlamaEngine
from cgcli.engine.request import Request
from tests.benchmarks.cases.common import (
    Figure,
    Texts,
    drain,
    engine,
    forget,
    models,
    peer,
    peer_settings,
    request,
    say,
    timed,
)
from tests.benchmarks.report import in_turn, ratio

REQUESTS, ALL = 40, 200
SAMPLES = 5


def together(one: LlamaEngine, requests: Sequence[Request]) -> int:
    return sum(completion.tokens for _, completion in one.complete(requests))


def one_by_one(one: LlamaEngine, requests: Sequence[Request]) -> int:
    return sum(drain(one, wanted).tokens for wanted in requests)


def theirs(llama: Any, one: LlamaEngine, requests: Sequence[Request]) -> int:
    drawn = 0
    for wanted in requests:
        ids = one.token_table.tokens(wanted.context)
        settings = peer_settings(wanted.sampling.temperature)
        found = llama.create_completion(ids, max_tokens=wanted.max_tokens, seed=wanted.candidate, **settings)
        drawn += found["usage"]["completion_tokens"]
    return drawn


def from_nothing(one: LlamaEngine, call: Callable[[], int]) -> float:
    """Tokens a second, contexts included."""
    forget(one)
    return timed(call)


def mixed(texts: Texts, draw: np.random.Generator, count: int) -> list[Request]:
    found = []
    for _ in range(count // SAMPLES):
        context, tokens = texts.next(int(draw.integers(16, 513))), int(draw.integers(8, 97))
        found += [request(context, tokens, candidate=candidate) for candidate in range(SAMPLES)]
    return found


def of_model(name: str, path: Path, rounds: int, count: int) -> list[Figure]:
    with engine(path, speculate=False, separate=True) as many, engine(path, speculate=False) as one:
        llama, texts, draw = peer(path, one.threads), Texts(one.model, path), np.random.default_rng(1)
        for either in (many, one):
            together(either, [request(texts.next(16), 8)])  # warm-up
        rows = []
        for number in range(rounds):
            requests = mixed(texts, draw, count)
            sides = (
                (many, partial(together, many)),
                (one, partial(one_by_one, one)),
                (one, partial(theirs, llama, one)),
            )
            rows.append(in_turn(number, [partial(from_nothing, own, partial(call, requests)) for own, call in sides]))
            say(f"{name}: {', '.join(f'{value:.1f}' for value in rows[-1])} tokens/s")
        llama.close()
    mine, *others = zip(*rows, strict=True)
    names = ("one by one", "create_completion")
    return [
        Figure(
            f"{count} mixed requests / {other_name}, {name}",
            ratio(mine, other),
            2.5 if other_name == "one by one" else None,
            statistics.median(mine),
            statistics.median(other),
        )
        for other_name, other in zip(names, others, strict=True)
    ]


def measure(rounds: int, everything: bool = False) -> list[dict[str, Any]]:
    count = ALL if everything else REQUESTS
    return [asdict(figure) for name, path in models().items() for figure in of_model(name, path, rounds, count)]
