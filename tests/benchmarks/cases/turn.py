"""The tenth turn of a program: how many tokens are read again, and the time to its first token.

Beside it a bare pass of as many tokens as are new, at that length of context.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from cgcli.engine.context import Context
from cgcli.engine.engine import Engine
from tests.benchmarks.cases.common import Figure, Texts, drain, engine, forget, in_turn, models, request
from tests.benchmarks.report import ratio

TURNS = 10
TOKENS = 48  # drawn in each turn before
REPEATS = 5  # of the last turn
PROMPT = b"\n\n# print the sum of all numbers in the list, without the largest one\n"


def first_token_s(one: Engine, context: bytes, length: int) -> float:
    """Seconds from the request to its first draw. length: of the context in tokens; an earlier reading is forgotten."""
    for branch in [branch for branch in one.cache.branches if len(branch.tokens) >= length]:
        one.cache.drop(branch)
    started = time.perf_counter()
    stream = one.submit(request(context, 2))
    while not stream.writer.drawn:
        one.scheduler.step()
    took = time.perf_counter() - started
    stream.cancel()
    one.scheduler.sweep()
    return took


def bare_s(bare: Context, ids: list[int], new: int) -> float:
    """Seconds of a pass of the last `new` ids; the others are in the cache."""
    bare.remove(0, len(ids) - new)
    started = time.perf_counter()
    bare.decode(ids[len(ids) - new :], at=len(ids) - new)
    bare.logits_address(-1)
    return time.perf_counter() - started


def of_model(name: str, path: Path, rounds: int) -> list[Figure]:
    seconds, again = [], []
    with engine(path) as one, Context(one.model, n_ctx=2048, threads=one.threads) as bare:
        one.reserve(2048)
        texts = Texts(one.model, path)
        for _round in range(rounds):
            forget(one)
            context = texts.next(128) + PROMPT
            for _turn in range(TURNS - 1):
                context += drain(one, request(context, TOKENS)).text.encode() + PROMPT
                said = context[: -len(PROMPT)]
            ids = one.vocabulary.tokens(context)
            before = one.timings.prefill_tokens
            new = len(ids) - (len(one.vocabulary.tokens(said)) - 1)  # the last token drawn was never read
            bare.clear()
            for at in range(0, len(ids), bare.n_batch):
                bare.decode(ids[at : at + bare.n_batch], at=at)
            calls = (partial(first_token_s, one, context, len(ids)), partial(bare_s, bare, ids, new))
            seconds += [in_turn(repeat, calls) for repeat in range(REPEATS)]
            again.append((one.timings.prefill_tokens - before) / REPEATS - new)
    mine, passes = zip(*seconds, strict=True)
    medians = 1e3 * statistics.median(mine), 1e3 * statistics.median(passes)
    return [
        Figure(
            f"turn {TURNS}, {len(ids)} tokens: first token / bare pass, {name}",
            ratio(mine, passes),
            1.2,
            *medians,
            "ms",
            below=True,
        ),
        Figure(f"turn {TURNS}: tokens of the program read again at most, {name}", max(again), 0, unit="", below=True),
    ]


def measure(rounds: int) -> list[dict[str, Any]]:
    return [asdict(figure) for name, path in models().items() for figure in of_model(name, path, rounds)]
