"""Every figure of the engine beside llama-cpp-python's `Llama`, or beside itself: tests/benchmarks/cases has each.

    python -m tests.benchmarks.engine [--only CASE ...] [--rounds N] [--all]

A case runs in a process of its own, its sides in turn, all with OpenMP's short spin; a value is the median of ratios,
of two numbers of one round each. `draft_model` needs the random model of the 2B shape; it runs where that is there, or
is asked for. --all: a queue of 200 requests. The last line is JSON.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from tests.benchmarks.cases.common import in_own_process
from tests.benchmarks.checkpoint import FOLDER
from tests.benchmarks.report import command_line, machine, print_facts, table

CASES = ("products", "candidates", "queue", "single", "turn", "flips", "exact", "sampler", "draft_model")
NEEDED = {"draft_model": FOLDER / "codegen-2b-random.q4_0.gguf"}


def row(figure: dict[str, Any]) -> list[str]:
    numbers = [f"{figure[key]:.1f}" if figure[key] is not None else "" for key in ("ours", "theirs")]
    goal = "" if figure["goal"] is None else f"{'≤' if figure['below'] else '≥'} {figure['goal']:g}"
    return [figure["name"], f"{figure['value']:.3g}", goal, *numbers, figure["unit"] if numbers[0] else ""]


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--only", nargs="+", choices=CASES, default=[])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--all", action="store_true")
    arguments = parser.parse_args()
    figures: dict[str, list[dict[str, Any]]] = {}
    for case in arguments.only or [case for case in CASES if case not in NEEDED or NEEDED[case].exists()]:
        started = time.perf_counter()
        extra = [True] if case == "queue" and arguments.all else []
        figures[case] = in_own_process(case, "measure", arguments.rounds, *extra)
        print(f"{case}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    about = f"{machine()}; {arguments.rounds} rounds"
    head = ["", "value", "goal", "ours", "theirs", "unit"]
    print(table(head, [row(figure) for case in figures.values() for figure in case]) + about)
    print_facts("engine", cases=figures, rounds=arguments.rounds)


if __name__ == "__main__":
    main()
