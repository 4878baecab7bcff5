"""How often a text depends on what is drawn beside it: the same requests in a batch of 16 and alone, token by token.

Contexts of 600 tokens, from where on llama.cpp's arithmetic depends on the rows of a pass. A flip is the first token at
which the two texts of a request differ; what follows it differs for that reason. With --exact none is allowed, and what
that costs is shown.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cgcli.engine.engine import LlamaEngine
from cgcli.engine.prefix import common_prefix
from cgcli.engine.request import Request
from tests.benchmarks.cases.common import Figure, Texts, engine, forget, in_own_process, request, say
from tests.benchmarks.report import EMBEDDED

CONTEXT, TOKENS = 600, 64
CONTEXTS, CANDIDATES = 4, 4


def drawn(one: LlamaEngine, requests: Sequence[Request]) -> tuple[list[list[int]], float]:
    """The tokens of each, contexts included, and tokens a second of decoding."""
    before, spent = one.timings.decode_tokens, one.timings.decode_s
    streams = [one.submit(wanted) for wanted in requests]
    while one.scheduler.step():
        pass
    speed = (one.timings.decode_tokens - before - len(streams)) / (one.timings.decode_s - spent)
    return [stream.tokens for stream in streams], speed


def compare(path: str, exact: bool, temperature: float, seed: int) -> dict[str, float]:
    """A batch against each of its requests alone. tokens: drawn until texts part, those that part included."""
    with engine(Path(path), exact=exact, speculate=False) as one:
        texts = Texts(one.model, Path(path), seed)
        contexts = [texts.next(CONTEXT) for _ in range(CONTEXTS)]
        requests = [
            request(context, TOKENS, temperature, candidate, seed)
            for context in contexts
            for candidate in range(CANDIDATES)
        ]
        together, batch_speed = drawn(one, requests)
        forget(one)
        alone, speeds = [], []
        for wanted in requests:
            (tokens,), speed = drawn(one, [wanted])
            alone.append(tokens)
            speeds.append(speed)
        parted = tokens_until = 0
        for wanted, a, b in zip(requests, together, alone, strict=True):
            same = common_prefix(a, b)
            differ = same < max(len(a), len(b))
            parted += differ
            tokens_until += same + differ - len(one.token_table.tokens(wanted.context))
    return {"parted": parted, "tokens": tokens_until, "batch": batch_speed, "alone": statistics.median(speeds)}


def measure(rounds: int) -> list[dict[str, Any]]:
    figures = []
    for temperature in (0.2, 0.8):
        found: dict[bool, list[dict[str, float]]] = {False: [], True: []}
        for seed in range(rounds):
            for exact in (False, True) if seed % 2 else (True, False):
                started = time.perf_counter()
                found[exact].append(in_own_process("flips", "compare", str(EMBEDDED), exact, temperature, seed))
                say(f"T {temperature}, exact {exact}: {found[exact][-1]}, {time.perf_counter() - started:.0f} s")
        for exact, goal in ((False, None), (True, 0.0)):
            flips, tokens = (sum(one[key] for one in found[exact]) for key in ("parted", "tokens"))
            name = f"flips a token{', --exact' * exact}, {tokens} tokens, T {temperature}"
            figures.append(Figure(name, flips / tokens, goal, unit="", below=True))
        for key in ("batch", "alone"):
            pairs = [(a[key], b[key]) for a, b in zip(found[True], found[False], strict=True)]
            mine, other = (statistics.median(values) for values in zip(*pairs, strict=True))
            times = statistics.median(a / b for a, b in pairs)
            figures.append(Figure(f"--exact / without, {key}, T {temperature}", times, None, mine, other))
    return [asdict(figure) for figure in figures]
