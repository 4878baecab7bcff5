"""16 candidates of one 128-token prompt, 256 tokens each, beside 16 calls of `create_completion`."""

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

CANDIDATES, PROMPT, TOKENS = 16, 128, 256
TEMPERATURE, WARM_UP = 0.2, 16  # tokens of it


def ours(one: LlamaEngine, context: bytes, tokens: int) -> int:
    """Tokens that were really drawn."""
    forget(one)
    requests = [request(context, tokens, TEMPERATURE, candidate) for candidate in range(CANDIDATES)]
    return sum(completion.tokens for _, completion in one.complete(requests))


def theirs(llama: Any, context: list[int], tokens: int) -> int:
    settings = peer_settings(TEMPERATURE)
    calls = (llama.create_completion(context, max_tokens=tokens, seed=seed, **settings) for seed in range(CANDIDATES))
    return sum(call["usage"]["completion_tokens"] for call in calls)


def of_model(name: str, path: Path, rounds: int, goal: float) -> Figure:
    with engine(path, speculate=False) as one:
        llama, texts, found = peer(path, one.threads), Texts(one.model, path), []
        for number in range(rounds + 1):
            context, tokens = texts.next(PROMPT), TOKENS if number else WARM_UP
            ids = one.token_table.tokens(context)
            calls = (partial(ours, one, context, tokens), partial(theirs, llama, ids, tokens))
            found.append(in_turn(number, [partial(timed, call) for call in calls]))
            say(f"{name}: {', '.join(f'{value:.0f}' for value in found[-1])} tokens/s")
        llama.close()
    mine, other = zip(*found[1:], strict=True)
    beside = f"{CANDIDATES} candidates of {TOKENS} tokens / as many calls of create_completion, {name}"
    return Figure(beside, ratio(mine, other), goal, statistics.median(mine), statistics.median(other))


def measure(rounds: int) -> list[dict[str, Any]]:
    goals = (7.0, 2.5)
    return [
        asdict(of_model(name, path, rounds, goal)) for (name, path), goal in zip(models().items(), goals, strict=True)
    ]
