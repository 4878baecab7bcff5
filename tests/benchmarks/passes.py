"""Passes of 1 to 16 rows behind a context, and the reading of prompts: cgcli's kernels beside llama.cpp's.

    python -m tests.benchmarks.passes [--quants Q ...] [--rounds N] [--avx2] [--write]

The random model of the 350M shape in each format, in one process and loaded in three ways that take turns: with cgcli's
kernels; as llama-cpp-python loads it; and as that does where it is told to repack nothing, which is faster for some.
Numbers are medians of the rounds, and in brackets how many times faster cgcli is. What memory allows a single stream:
the weights and the cells of a pass, read at the most bytes a second that the threads read in the same rounds.

--avx2: as on a processor with AVX2 and nothing newer: llama.cpp's variant for those, of the portable build,
and our kernels for them. The last line is JSON.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unittest.mock import patch

from cgcli.core.machine import thread_count
from cgcli.engine.bench import bytes_per_pass, memory_bandwidth
from cgcli.engine.binding import llama
from cgcli.engine.context import Context
from cgcli.engine.cpu_variant import VARIABLE
from cgcli.engine.model import Model
from cgcli.native import products
from tests.benchmarks.checkpoint import SHAPES
from tests.benchmarks.model import model
from tests.benchmarks.peers import unpacked
from tests.benchmarks.report import command_line, measured, print_facts, publish, ratio, seconds, table

COMMAND = "make bench BENCH=passes"
QUANTS = ("q4_0", "q4_k_m", "q8_0")
CELLS, ROWS, READING = (128, 512), (1, 2, 4, 8, 16), (64, 512)
PASSES = 4  # of each width in a round
OURS, THEIRS, PLAIN = SIDES = ("cgcli", "llama-cpp-python", "the same, plain")


@dataclass
class Found:
    """Of a format. reading, passes: milliseconds by tokens, and by (cells, rows): of each side, by round."""

    quant: str
    reading: dict[int, dict[str, list[float]]] = field(default_factory=dict)
    passes: dict[tuple[int, int], dict[str, list[float]]] = field(default_factory=dict)
    allowed_ms: float = 0.0  # by memory, for a pass of one row at the fewest cells

    @property
    def share(self) -> float:
        """Of what memory allows a single stream."""
        return self.allowed_ms / statistics.median(self.passes[CELLS[0], 1][OURS])


def use_avx2() -> None:
    """Of what this processor has; before llama.cpp is loaded."""
    os.environ |= {"LLAMA_CPP_LIB_PATH": str(unpacked("portable")), VARIABLE: "haswell"}
    assert products.choose_tier("avx2")


def load(path: Path, side: str) -> Model:
    api = llama().api
    params = api.llama_model_default_params()
    params.use_extra_bufts = side != PLAIN
    with patch.object(api, "llama_model_default_params", lambda: params):
        return Model.load(path, gpu_layers=0, own_products=side == OURS)


def read(context: Context, ids: Sequence[int]) -> float:
    """Milliseconds."""
    context.clear()
    return 1000 * seconds(partial(context.decode, ids))


def pass_of(context: Context, ids: Sequence[int], at: int) -> float:
    """Milliseconds of a pass that carries these tokens and gives all their logits; the fastest of a few."""
    took = []
    for _ in range(PASSES):
        took.append(seconds(partial(context.decode, ids, at=at, outputs=range(len(ids)))))
        context.remove(0, at)
    return 1000 * min(took)


def measure(quant: str, rounds: int) -> Found:
    found, path = Found(quant), model(SHAPES["350m"], quant)
    ids = random.Random(0).choices(range(256, 50_000), k=max(*CELLS, *READING))
    with ExitStack() as opened:
        models = {side: opened.enter_context(load(path, side)) for side in SIDES}
        sides = {side: opened.enter_context(Context(one, n_ctx=1024)) for side, one in models.items()}
        for tokens in READING:
            calls = {side: partial(read, context, ids[:tokens]) for side, context in sides.items()}
            found.reading[tokens] = measured(calls, rounds)
        for cells in CELLS:
            for context in sides.values():
                read(context, ids[:cells])
            for rows in ROWS:
                calls = {side: partial(pass_of, context, ids[:rows], cells) for side, context in sides.items()}
                if (cells, rows) == (CELLS[0], 1):
                    calls["memory"] = partial(memory_bandwidth, thread_count())
                found.passes[cells, rows] = measured(calls, rounds)
        one = models[OURS]
        size = bytes_per_pass(one.header.tensors.values()) + CELLS[0] * one.cell_bytes
    found.allowed_ms = 1000 * size / max(found.passes[CELLS[0], 1].pop("memory"))
    return found


def line(of: Sequence[Mapping[str, Sequence[float]]], side: str, digits: int, tokens: Sequence[int] = ()) -> list[str]:
    """Cells of the table. tokens: read in those milliseconds, and tokens/s are shown."""
    cells = []
    for index, sides in enumerate(of):
        number = statistics.median(sides[side])
        text = f"{1000 * tokens[index] / number if tokens else number:.{digits}f}"
        cells.append(text if side == OURS else f"{text} (×{ratio(sides[side], sides[OURS]):.2f})")
    return cells


def tables(found: Sequence[Found]) -> str:
    reading = [
        [one.quant.upper(), side, *line(list(one.reading.values()), side, 0, READING)]
        for one in found
        for side in SIDES
    ]
    passes = [
        [one.quant.upper(), str(cells), side, *line([one.passes[cells, rows] for rows in ROWS], side, 1)]
        for one in found
        for cells in CELLS
        for side in SIDES
    ]
    memory = [[one.quant.upper(), f"{one.allowed_ms:.1f}", f"{one.share:.0%}"] for one in found]
    return "\n".join(
        (
            table(["reading, tokens/s", "", *(f"{tokens} tokens" for tokens in READING)], reading),
            table(["a pass, ms", "cells", "", *(f"{rows} row{'s' * (rows > 1)}" for rows in ROWS)], passes),
            table(["a single stream", f"memory allows, ms at {CELLS[0]} cells", "share reached"], memory),
        )
    )


def main() -> None:
    parser = command_line(__doc__, writes=True)
    parser.add_argument("--quants", nargs="+", choices=QUANTS, default=QUANTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--avx2", action="store_true")
    arguments = parser.parse_args()
    if arguments.avx2:
        use_avx2()
    found = []
    for quant in arguments.quants:
        found.append(measure(quant, arguments.rounds))
        print(f"{quant}: {found[-1].share:.0%} of what memory allows", file=sys.stderr)
    conditions = f"350M shape, {thread_count()} threads, {arguments.rounds} rounds"
    command = f"{COMMAND} ARGS=--avx2" if arguments.avx2 else COMMAND
    publish(command, tables(found), conditions, write=arguments.write)
    print_facts("passes", share={one.quant: one.share for one in found})


if __name__ == "__main__":
    main()
