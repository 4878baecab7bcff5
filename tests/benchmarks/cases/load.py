"""Loading a model and reading 16 tokens, each in a process of its own: with cgcli's kernels, and with llama.cpp's.

Ours pack every matrix when they load; llama.cpp repacks some, and maps the others. A value is how many times as long it
takes, or how much memory. Processor time is in all threads, and says more about a busy machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from cgcli.engine.binding import llama
from cgcli.engine.context import Context
from cgcli.engine.gguf_check import read_header
from cgcli.engine.model import Model
from tests.benchmarks.cases.common import Figure, in_own_process
from tests.benchmarks.checkpoint import SHAPES
from tests.benchmarks.model import model
from tests.benchmarks.report import ratio
from tests.benchmarks.sides.worker import peak_mb

GOAL_S = 1.3
GOALS_MB = {"q4_0": 0.85, "q4_k_m": 0.9, "q8_0": 1.02}
READING = 16


def loaded(path: str, own_products: bool) -> dict[str, float]:
    """Milliseconds of a load without the check of the header, and the process's peak of memory after it has read."""
    llama()
    read_header(Path(path))
    cpu, started = time.process_time(), time.perf_counter()
    with Model.load(Path(path), own_products=own_products) as found:
        took = {"ms": 1000 * (time.perf_counter() - started), "cpu": 1000 * (time.process_time() - cpu)}
        with Context(found, n_ctx=1024) as context:
            context.decode([300 + 37 * index % 50_000 for index in range(READING)])
    return took | {"mb": peak_mb()}


def figures(quant: str, rounds: int) -> Iterator[Figure]:
    one = partial(in_own_process, "load", "loaded", str(model(SHAPES["350m"], quant)))
    pairs = [(one(True), one(False)) for _ in range(rounds + 1)][1:]

    def figure(name: str, key: str, goal: float | None, unit: str) -> Figure:
        ours, theirs = ([side[key] for side in sides] for sides in zip(*pairs, strict=True))
        middle = (statistics.median(ours), statistics.median(theirs))
        return Figure(f"{name}, {quant}", ratio(ours, theirs), goal, *middle, unit, below=True)

    yield figure("load", "ms", GOAL_S, "ms")
    yield figure("load, processor time", "cpu", None, "ms")
    yield figure("peak memory", "mb", GOALS_MB[quant], "MB")


def measure(rounds: int) -> list[dict[str, Any]]:
    return [asdict(figure) for quant in GOALS_MB for figure in figures(quant, rounds)]
