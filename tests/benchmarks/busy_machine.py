"""Tokens a second on a machine that is busy with something else, by how long OpenMP's threads spin.

    python -m tests.benchmarks.busy_machine MODEL.gguf [--rounds N] [--seconds S]

ggml's threads meet after every operation. GNU OpenMP lets them spin while they wait, so when another process takes a
core, one thread waits out its time slice while the others burn theirs. The settings run in turn, with no competitor
and with a process a core that computes without end; each measurement is a process of its own. The last line is JSON.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.report import command_line, print_facts

SETTINGS = {
    "OpenMP's default": {"GOMP_SPINCOUNT": "300000", "OMP_WAIT_POLICY": ""},
    "passive": {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"},
    "300 spins": {"GOMP_SPINCOUNT": "300"},
    "1000 spins (cgcli)": {"GOMP_SPINCOUNT": "1000"},
}

MEASURE = """
import sys, time
from pathlib import Path
from cgcli.engine.context import Context
from cgcli.engine.model import Model
with Model.load(Path(sys.argv[1])) as model, Context(model, n_ctx=1024) as context:
    ids = model.tokenize(b"def add(a, b):")
    context.decode(ids)
    at = len(ids)
    started, tokens = time.perf_counter(), 0
    while (took := time.perf_counter() - started) < float(sys.argv[2]) and at + tokens < 1024:
        context.decode([5], at=at + tokens)
        tokens += 1
print(tokens / took)
"""


def tokens_per_s(model: Path, seconds: float, variables: dict[str, str]) -> float:
    environment = {**os.environ, **{name: value for name, value in variables.items() if value}}
    command = [sys.executable, "-c", MEASURE, str(model), str(seconds)]
    return float(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    arguments = parser.parse_args()
    result: dict[str, dict[str, float]] = {name: {} for name in SETTINGS}
    for load in ("idle", "busy"):
        busy = range(os.cpu_count() or 1) if load == "busy" else ()
        competitors = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in busy]
        speeds: dict[str, list[float]] = {name: [] for name in SETTINGS}
        try:
            for _ in range(arguments.rounds):
                for name, variables in SETTINGS.items():
                    speeds[name].append(tokens_per_s(arguments.model, arguments.seconds, variables))
        finally:
            for competitor in competitors:
                competitor.kill()
                competitor.wait()
        for name, values in speeds.items():
            result[name][load] = round(statistics.median(values), 1)
            result[name][f"{load}_worst"] = round(min(values), 1)
    for name, speed in result.items():
        print(
            f"{name:20} idle {speed['idle']:6.1f}  busy {speed['busy']:6.1f} (worst {speed['busy_worst']:.1f}) tokens/s"
        )
    print_facts("busy_machine", tokens_per_s=result)


if __name__ == "__main__":
    main()
