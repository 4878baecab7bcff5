"""Every figure of the engine beside llama-cpp-python's `Llama`, or beside itself: tests/benchmarks/cases has each.

    python -m tests.benchmarks.engine [--only CASE ...] [--rounds N] [--write]

A case runs in a process of its own, its sides in turn, all with OpenMP's short spin; a value is the median of ratios,
of two numbers of one round each. `flips`, `exact` and `draft_model`, which makes the random model of the 2B shape, run
where they are asked for. The last line is JSON.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from tests.benchmarks.cases.common import in_own_process
from tests.benchmarks.report import command_line, print_facts, publish, table

CASES = ("load", "single", "candidates", "queue", "turn", "sampler")
SLOW = ("flips", "exact", "draft_model")
HEAD = ("", "value", "goal", "cgcli", "beside it", "unit")


def command(case: str) -> str:
    return f'make bench BENCH=engine ARGS="--only {case}"'


def row(figure: dict[str, Any]) -> list[str]:
    numbers = [f"{figure[key]:.1f}" if figure[key] is not None else "" for key in ("ours", "theirs")]
    goal = "" if figure["goal"] is None else f"{'≤' if figure['below'] else '≥'} {figure['goal']:g}"
    return [figure["name"], f"{figure['value']:.3g}", goal, *numbers, figure["unit"] if numbers[0] else ""]


def main() -> None:
    parser = command_line(__doc__, writes=True)
    parser.add_argument("--only", nargs="+", choices=(*CASES, *SLOW), default=CASES)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    figures: dict[str, list[dict[str, Any]]] = {}
    for case in arguments.only:
        started = time.perf_counter()
        figures[case] = in_own_process(case, "measure", arguments.rounds)
        print(f"{case}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
        publish(
            command(case), table(HEAD, map(row, figures[case])), f"{arguments.rounds} rounds", write=arguments.write
        )
    print_facts("engine", cases=figures, rounds=arguments.rounds)


if __name__ == "__main__":
    main()
