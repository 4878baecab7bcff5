"""A queue of 200 requests, five samples of a prompt as evaluation has: drawn together as it draws them, and one by one.

Prompts have 16 to 512 tokens, and 8 to 96 are drawn. One by one, every fifth prompt is drawn, in the order of their
length, so that short and long ones are in it as in the whole queue: both sides have their own tokens a second. A round
takes more than a minute: there is a third of them.
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
    request,
    say,
    timed,
)
from tests.benchmarks.report import in_turn, ratio

REQUESTS, SAMPLES = 200, 5
EVERY = 5  # prompt is drawn one by one


def together(one: LlamaEngine, requests: Sequence[Request]) -> int:
    return sum(completion.tokens for _, completion in one.complete(requests))


def one_by_one(one: LlamaEngine, requests: Sequence[Request]) -> int:
    return sum(drain(one, wanted).tokens for wanted in requests)


def from_nothing(one: LlamaEngine, call: Callable[[], int]) -> float:
    """Tokens a second, contexts included."""
    forget(one)
    return timed(call)


def mixed(texts: Texts, draw: np.random.Generator, count: int) -> list[list[Request]]:
    """The requests of each prompt."""
    found = []
    for _ in range(count // SAMPLES):
        context, tokens = texts.next(int(draw.integers(16, 513))), int(draw.integers(8, 97))
        found.append([request(context, tokens, candidate=candidate) for candidate in range(SAMPLES)])
    return found


def part(prompts: list[list[Request]]) -> list[Request]:
    """The requests of every fifth prompt, from the shortest to the longest."""
    by_length = sorted(prompts, key=lambda requests: len(requests[0].context))
    return [one for requests in by_length[EVERY // 2 :: EVERY] for one in requests]


def of_model(name: str, path: Path, rounds: int) -> Figure:
    with engine(path, speculate=False, many=True) as many, engine(path, speculate=False) as one:
        texts, draw, rows = Texts(one.model, path), np.random.default_rng(1), []
        for either in (many, one):
            together(either, [request(texts.next(16), 8)])  # warm-up
        for number in range(rounds):
            prompts = mixed(texts, draw, REQUESTS)
            whole = [one for requests in prompts for one in requests]
            calls = (
                partial(from_nothing, many, partial(together, many, whole)),
                partial(from_nothing, one, partial(one_by_one, one, part(prompts))),
            )
            rows.append(in_turn(number, calls))
            say(f"{name}: {', '.join(f'{value:.1f}' for value in rows[-1])} tokens/s")
    mine, other = zip(*rows, strict=True)
    title = f"{REQUESTS} mixed requests / a fifth of them one by one, {name}"
    return Figure(title, ratio(mine, other), 3.0, statistics.median(mine), statistics.median(other))


def measure(rounds: int) -> list[dict[str, Any]]:
    return [asdict(of_model(name, path, max(1, rounds // 3))) for name, path in models().items()]
