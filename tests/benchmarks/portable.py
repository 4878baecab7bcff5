"""cgcli on the portable wheel of llama.cpp beside cgcli on the one that is built for this processor.

    python -m tests.benchmarks.portable [--rounds N] [--threads N]

The measurements of `make bench-peers`, of both wheels in turn, with the random model of the 350M shape. Builds the
wheels that are not cached yet. The last line is JSON.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from cgcli.core.machine import thread_count
from tests.benchmarks.model import model
from tests.benchmarks.peers import SHAPE, Side, result, rows, run_round, unpacked
from tests.benchmarks.report import command_line, print_facts, table


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=thread_count())
    arguments = parser.parse_args()
    gguf = model(SHAPE)
    sides = [
        Side(kind, "cgcli_engine", Path(sys.executable), gguf, "Q4_0", {"LLAMA_CPP_LIB_PATH": str(unpacked(kind))})
        for kind in ("portable", "native")
    ]
    draw = np.random.default_rng(0)
    rounds = [run_round(sides, arguments.threads, draw) for _ in range(arguments.rounds + 1)][1:]
    found = result(rounds)
    print(table(["", *(side.title for side in sides)], rows(found)))
    print_facts("portable", measures=found, rounds=arguments.rounds, threads=arguments.threads)


if __name__ == "__main__":
    main()
