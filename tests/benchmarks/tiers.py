"""The tiers of the products beside the best one: the reading of prompts in the 350M shape, in one process.

    python -m tests.benchmarks.tiers [--tiers T ...] [--quants Q ...] [--rounds N]

A number is the processor time of a tier for that of the best one, the median of the rounds, all tiers in turn: how many
times faster the best one is. With avx2 and avxvnni attention and GELU run in AVX2, too. The last line is JSON.
"""

from __future__ import annotations

import random
import time
from functools import partial

from cgcli.engine.context import Context
from cgcli.engine.model import Model
from cgcli.native import products
from tests.benchmarks.checkpoint import SHAPES
from tests.benchmarks.model import model
from tests.benchmarks.report import command_line, machine, measured, print_facts, ratio, table

QUANTS = ("q4_0", "q4_k_m", "q8_0")
READING = (16, 64, 512)


def processor_time(context: Context, ids: list[int], tier: str) -> float:
    """Seconds of all threads."""
    products.choose_tier(tier)
    context.clear()
    started = time.process_time()
    context.decode(ids)
    return time.process_time() - started


def measure(quant: str, tiers: list[str], rounds: int) -> dict[str, list[float]]:
    """How many times faster the first tier is than each of the others, by length of the prompt."""
    ids = random.Random(0).choices(range(256, 50_000), k=max(READING))
    found: dict[str, list[float]] = {tier: [] for tier in tiers[1:]}
    with Model.load(model(SHAPES["350m"], quant)) as loaded, Context(loaded, n_ctx=1024) as context:
        for tokens in READING:
            sides = {tier: partial(processor_time, context, ids[:tokens], tier) for tier in tiers}
            took = measured(sides, rounds)
            for tier, times in found.items():
                times.append(round(ratio(took[tier], took[tiers[0]]), 2))
    return found


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--tiers", nargs="+", default=["amx", "avx512"], help="the first one is the best")
    parser.add_argument("--quants", nargs="+", choices=QUANTS, default=QUANTS)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    tiers = [tier for tier in arguments.tiers if products.choose_tier(tier)]
    found = {quant: measure(quant, tiers, arguments.rounds) for quant in arguments.quants}
    rows = [
        [quant, f"{tiers[0]} / {tier}", *map(str, times)] for quant, of in found.items() for tier, times in of.items()
    ]
    print(table(["", "times faster", *(f"{tokens} tokens" for tokens in READING)], rows))
    print(machine())
    print_facts("tiers", tiers=tiers, times=found)


if __name__ == "__main__":
    main()
