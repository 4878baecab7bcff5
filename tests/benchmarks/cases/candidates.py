"""16 candidates of one 128-token prompt, 64 tokens each, beside 16 calls of `create_completion`, and the shared
cache that `gen` has beside caches apart, which evaluation has."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from cgcli.engine.engine import LlamaEngine
from tests.benchmarks.cases.common import (
    Figure,
    Texts,
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

CANDIDATES, PROMPT, TOKENS = 16, 128, 64


def ours(one: LlamaEngine, context: bytes, temperature: float) -> int:
    """Tokens that were really drawn."""
    forget(one)
    requests = [request(context, TOKENS, temperature, candidate) for candidate in range(CANDIDATES)]
    return sum(completion.tokens for _, completion in one.complete(requests))


def theirs(llama: Any, context: list[int], temperature: float) -> int:
    settings = peer_settings(temperature)
    calls = (llama.create_completion(context, max_tokens=TOKENS, seed=seed, **settings) for seed in range(CANDIDATES))
    return sum(call["usage"]["completion_tokens"] for call in calls)


def of_model(name: str, path: Path, rounds: int, goal: float) -> list[Figure]:
    figures = []
    with engine(path, speculate=False) as one, engine(path, speculate=False, separate=True) as parted:
        llama, texts = peer(path, one.threads), Texts(one.model, path)
        for temperature in (0.2, 0.8):
            found = []
            for number in range(rounds + 1):
                context = texts.next(PROMPT)
                ids = one.token_table.tokens(context)
                calls = (
                    partial(ours, one, context, temperature),
                    partial(ours, parted, context, temperature),
                    partial(theirs, llama, ids, temperature),
                )
                found.append(in_turn(number, [partial(timed, call) for call in calls]))
                say(f"{name}, T {temperature}: {', '.join(f'{value:.0f}' for value in found[-1])} tokens/s")
            mine, apart, other = zip(*found[1:], strict=True)  # the first is warm-up
            for beside, rates, aim in (("create_completion", other, goal), ("with caches apart", apart, None)):
                figures.append(
                    Figure(
                        f"{CANDIDATES} candidates / {beside}, {name}, T {temperature}",
                        ratio(mine, rates),
                        aim,
                        statistics.median(mine),
                        statistics.median(rates),
                    )
                )
        llama.close()
    return figures


def measure(rounds: int) -> list[dict[str, Any]]:
    goals = (3.0, 2.5)
    return [
        asdict(figure)
        for (name, path), goal in zip(models().items(), goals, strict=True)
        for figure in of_model(name, path, rounds, goal)
    ]
