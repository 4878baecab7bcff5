"""Seconds and peak memory of `cgcli convert` on a random checkpoint of a published shape.

    python -m tests.benchmarks.conversion [--shape 350m|2b] [--write]

A published one of the 350M shape is 797 MB, this one 713: it has no mask buffers. Each conversion is a process of
its own; its memory is the largest resident size, which counts the parts of the f16 file that llama.cpp has mapped while
it is verified. The checkpoint stays in build/bench. The last line is JSON.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.checkpoint import SHAPES, checkpoint
from tests.benchmarks.report import command_line, print_facts, publish, table

COMMAND = "make bench BENCH=conversion"
RUNS = {
    "f16, not verified": ["--quant", "f16", "--no-verify"],
    "f16, verified": ["--quant", "f16"],
    "q4_k_m, verified": ["--quant", "q4_k_m"],
}


def measure(folder: Path, options: list[str]) -> tuple[float, float]:
    """Seconds, and the largest resident size in MB of the process and its children."""
    target = folder.parent / "converted.gguf"
    command = [sys.executable, "-m", "cgcli", "convert", str(folder), "-o", str(target), "-q", *options]
    started = time.perf_counter()
    pid = os.posix_spawn(sys.executable, command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - started
    target.unlink(missing_ok=True)
    if status:
        sys.exit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return seconds, usage.ru_maxrss * 1024 / 1e6


def main() -> None:
    parser = command_line(__doc__, writes=True)
    parser.add_argument("--shape", choices=SHAPES, default="350m")
    arguments = parser.parse_args()
    shape = SHAPES[arguments.shape]
    # In a process of its own: a child's peak counts what its parent had in memory when it was made.
    subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.checkpoint", shape.name], check=True, stdout=subprocess.DEVNULL
    )
    folder = checkpoint(shape)
    result = {}
    for name, options in RUNS.items():
        seconds, megabytes = measure(folder, options)
        result[name] = {"seconds": round(seconds, 1), "peak_rss_mb": round(megabytes)}
    rows = [(name, f"{one['seconds']} s", f"{one['peak_rss_mb']} MB") for name, one in result.items()]
    text = table(("", "time", "peak memory"), rows)
    publish(COMMAND, text, f"random weights of the {shape.name.upper()} shape, once each", write=arguments.write)
    print_facts("conversion", shape=shape.name, runs=result)


if __name__ == "__main__":
    main()
