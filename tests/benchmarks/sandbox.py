"""What the sandbox adds to the start of an interpreter, and how many small programs a second it runs.

    python -m tests.benchmarks.sandbox [--runs N]

Beside it, in turn in one run: the bare interpreter with the same switches (-I -B -S), the same program run by cgcli on
the host (--unsafe, another start-up: -I -B), and a program that imports numpy. One run of each is not counted. Less
than 40 ms more than the bare interpreter is what is aimed at. The last line is JSON.
"""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Callable
from functools import partial

from cgcli.sandbox.interpreter import Interpreter
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.run import run
from tests.benchmarks.report import command_line, measured, medians, print_facts, publish, seconds, table

COMMAND = "make bench BENCH=sandbox"
AIM_MS = 40


def main() -> None:
    parser = command_line(__doc__, writes=True)
    parser.add_argument("--runs", type=int, default=60)
    arguments = parser.parse_args()
    runs = arguments.runs
    executable = str(Interpreter.own().executable)

    def bare() -> None:
        subprocess.run([executable, "-IBS", "-c", "pass"], stdin=subprocess.DEVNULL, capture_output=True, check=True)

    def program(source: bytes, *, unsafe: bool = False) -> Callable[[], None]:
        def once() -> None:
            assert run(source, policy=Policy(unsafe=unsafe)).passed

        return once

    sides = {
        "bare interpreter": bare,
        "sandbox": program(b"pass"),
        "sandbox, import numpy": program(b"import numpy"),
        "host (--unsafe)": program(b"pass", unsafe=True),
    }

    def milliseconds(once: Callable[[], None]) -> float:
        return 1000 * seconds(once)

    times = measured({name: partial(milliseconds, once) for name, once in sides.items()}, runs)
    more = statistics.median(a - b for a, b in zip(times["sandbox"], times["bare interpreter"], strict=True))
    found = medians(times)
    rows = [(name, f"{min(times[name]):.1f}", f"{ms:.1f}", f"{1000 / ms:.0f}") for name, ms in found.items()]
    rows.append((f"the sandbox adds, median of the pairs; {AIM_MS} are aimed at", "", f"{more:.1f}", ""))
    text = table(("", "least ms", "median ms", "a second"), rows)
    publish(COMMAND, text, f"{runs} runs of each", write=arguments.write)
    print_facts("sandbox", medians_ms=found, added_ms=more, aim_ms=AIM_MS, runs=runs)


if __name__ == "__main__":
    main()
