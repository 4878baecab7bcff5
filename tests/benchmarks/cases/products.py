"""Passes of 1 to 16 rows after 128 tokens, and the reading of 64 and 512: with cgcli's kernels, and with llama.cpp's.

Both run in the same process. A value is how many times faster ours are, attention and GELU included.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

from cgcli.engine.context import Context
from cgcli.engine.model import Model
from tests.benchmarks.cases.common import Figure
from tests.benchmarks.checkpoint import SHAPES
from tests.benchmarks.model import model
from tests.benchmarks.report import measured, ratio, seconds

QUANTS = ("q4_0", "q4_k_m", "q8_0")
CONTEXT, ROWS, READING = 128, (1, 2, 4, 8, 16), (64, 512)
PASSES = 4  # of each width in a round


def wide(context: Context, ids: list[int], rows: int) -> float:
    """Milliseconds of a pass of so many rows."""
    took = []
    for _ in range(PASSES):
        took.append(seconds(partial(context.decode, ids[:rows], at=CONTEXT, outputs=range(rows))))
        context.remove(0, CONTEXT)
    return 1000 * min(took)


def reading(context: Context, ids: list[int], rows: int) -> float:
    """Milliseconds until so many tokens are read."""
    context.clear()
    return 1000 * seconds(partial(context.decode, ids[:rows]))


def figures(quant: str, rounds: int) -> Iterator[Figure]:
    path = model(SHAPES["350m"], quant)
    with Model.load(path) as own, Model.load(path, own_products=False) as plain:
        ids = [300 + 37 * index % 50_000 for index in range(max(READING))]
        with Context(own, n_ctx=1024) as ours, Context(plain, n_ctx=1024) as theirs:

            def figure(name: str, took: dict[str, list[float]]) -> Figure:
                mine, other = took["ours"], took["theirs"]
                times = ratio(other, mine)
                return Figure(name, times, None, statistics.median(mine), statistics.median(other), "ms")

            for rows in READING:
                sides = {"ours": partial(reading, ours, ids, rows), "theirs": partial(reading, theirs, ids, rows)}
                yield figure(f"reading {rows}, {quant}", measured(sides, rounds))
            for context in (ours, theirs):
                context.clear()
                context.decode(ids[:CONTEXT])
            for rows in ROWS:
                sides = {"ours": partial(wide, ours, ids, rows), "theirs": partial(wide, theirs, ids, rows)}
                yield figure(f"a pass of {rows}, {quant}", measured(sides, rounds))


def measure(rounds: int) -> list[dict[str, Any]]:
    return [asdict(figure) for quant in QUANTS for figure in figures(quant, rounds)]
