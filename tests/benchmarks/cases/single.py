"""One completion of 64 tokens after 128, from its first token on: beside create_completion, and beside bare passes.

The bare passes are llama.cpp's own decode loop with nothing drawn: with the attention that cgcli sets, and with
llama.cpp's defaults. And what it costs that the cache still has another text, which nobody uses.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from cgcli.engine.binding import llama
from cgcli.engine.context import Context
from cgcli.engine.engine import LlamaEngine
from cgcli.engine.model import Model
from tests.benchmarks.cases.common import (
    Figure,
    Texts,
    engine,
    forget,
    is_random,
    models,
    peer,
    peer_settings,
    request,
)
from tests.benchmarks.report import in_turn, ratio

PROMPT, TOKENS = 128, 64
CELLS = 2048
IDLE = 1000  # tokens


def ours(one: LlamaEngine, context: bytes, idle: bytes | None = None) -> float:
    """Tokens a second after the first. idle: a context that the cache may keep."""
    timings = one.timings
    forget(one, but=idle)
    for _text in one.complete([request(context, 1)]):
        pass  # the context is in the cache then
    before, started = timings.decode_tokens, time.perf_counter()
    for _completion in one.complete([request(context, TOKENS)]):
        pass
    return (timings.decode_tokens - before - 1) / (time.perf_counter() - started)


def theirs(llama: Any, ids: list[int]) -> float:
    """As ours."""
    came = [
        time.perf_counter()
        for chunk in llama.create_completion(ids, max_tokens=TOKENS, seed=0, stream=True, **peer_settings(0.2))
        if chunk["choices"][0]["finish_reason"] is None  # the last chunk carries no token
    ]
    return (len(came) - 1) / (came[-1] - came[0])


def bare(context: Context, ids: list[int]) -> float:
    """Passes a second."""
    context.clear()
    context.decode(ids)
    started = time.perf_counter()
    for at in range(len(ids), len(ids) + TOKENS - 1):
        context.decode(ids[-1:], at=at)
    return (TOKENS - 1) / (time.perf_counter() - started)


class DefaultContext(Context):
    """With the attention and batches that llama.cpp chooses."""

    def __init__(self, model: Model, threads: int) -> None:
        super().__init__(model, n_ctx=CELLS, threads=threads)
        api = llama().api
        api.llama_free(self.pointer)
        params = api.llama_context_default_params()
        params.n_ctx = CELLS
        params.n_threads = params.n_threads_batch = threads
        self.pointer = api.llama_init_from_model(model.pointer, params)
        self.memory = api.llama_get_memory(self.pointer)


def of_model(name: str, path: Path, rounds: int) -> list[Figure]:
    with engine(path, speculate=False) as plain, engine(path) as guessing, engine(path, speculate=False) as crowded:
        llama, texts = peer(path, plain.threads), Texts(plain.model, path)
        idle = texts.next(IDLE)
        for one in (plain, guessing, crowded):
            one.reserve(CELLS - one.cache.spare_cells)
        ours(crowded, idle)
        with (
            Context(plain.model, n_ctx=CELLS, threads=plain.threads) as same,
            DefaultContext(plain.model, plain.threads) as default,
        ):
            rows = []
            for number in range(3 * rounds + 1):
                context = texts.next(PROMPT)
                ids = plain.token_table.tokens(context)
                calls = (
                    partial(ours, plain, context),
                    partial(theirs, llama, ids),
                    partial(bare, same, ids),
                    partial(bare, default, ids),
                    partial(ours, guessing, context),
                    partial(ours, crowded, context, idle),
                )
                rows.append(in_turn(number, calls))
        llama.close()
    mine, completion, same_passes, default_passes, guessed, beside_idle = zip(
        *rows[1:], strict=True
    )  # the first is warm-up
    others: list[tuple[str, Sequence[float], Sequence[float], float | None]] = [
        ("create_completion", mine, completion, 1.1),
        ("bare passes, the same attention", mine, same_passes, 0.98),
        ("bare passes, llama.cpp's defaults", mine, default_passes, 0.98),
        (f"itself, {IDLE} idle cells", beside_idle, mine, None),
    ]
    if not is_random(path):
        others.append(("itself, guesses", guessed, mine, None))
    return [
        Figure(f"a single stream / {other}, {name}", ratio(a, b), goal, statistics.median(a), statistics.median(b))
        for other, a, b, goal in others
    ]


def measure(rounds: int) -> list[dict[str, Any]]:
    return [asdict(figure) for name, path in models().items() for figure in of_model(name, path, rounds)]
