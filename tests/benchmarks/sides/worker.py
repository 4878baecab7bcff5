"""One side of a comparison, in a process and virtual environment of its own: it loads a model and measures on demand.

    python -m tests.benchmarks.sides.worker SIDE MODEL THREADS

A line of stdin asks for one measurement, {"measure": NAME, "prompt": [ids]}; a line of stdout answers with its number.
Nothing but the standard library is imported here, since every side runs in another environment. What a side ended
early would count as speed, so any length but the one asked for is an error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

TOKENS = 64  # of each completion
CANDIDATES = 16
TEMPERATURE, TOP_P = 0.2, 0.95  # of every side; top-k and min-p off


class Side(Protocol):
    """What a module of this folder calls `Side`: made with the model's path and the number of threads."""

    def stream(self, prompt: list[int], tokens: int, on_tokens: Callable[[int], None]) -> None:
        """Draw a completion; on_tokens is told of tokens as soon as they are there, how many came."""
        ...

    def candidates(self, prompt: list[int], count: int, tokens: int) -> int:
        """Draw `count` completions of the one prompt; returns how many tokens they have in all."""
        ...


def arrivals(side: Side, prompt: list[int], tokens: int) -> list[tuple[float, int]]:
    """When tokens of a completion were there, in seconds, and how many came."""
    found: list[tuple[float, int]] = []
    side.stream(prompt, tokens, lambda count: found.append((time.perf_counter(), count)))
    expect(sum(count for _, count in found), tokens)
    return found


def prefill_tokens_per_s(side: Side, prompt: list[int]) -> float:
    """The first token's own draw is in it."""
    started = time.perf_counter()
    return len(prompt) / (arrivals(side, prompt, 1)[0][0] - started)


def decode_tokens_per_s(side: Side, prompt: list[int]) -> float:
    """From the first token on: the prompt is not in it."""
    (first, with_it), *others = arrivals(side, prompt, TOKENS)
    return (TOKENS - with_it) / (others[-1][0] - first)


def candidates_tokens_per_s(side: Side, prompt: list[int]) -> float:
    """From the call to its return: the prompt is in it."""
    started = time.perf_counter()
    tokens = side.candidates(prompt, CANDIDATES, TOKENS)
    seconds = time.perf_counter() - started
    expect(tokens, CANDIDATES * TOKENS)
    return tokens / seconds


def first_token(side: Side, prompt: list[int]) -> float:
    """The time is taken by whoever started this process."""
    return arrivals(side, prompt, 1)[0][0]


def peak_mb(*_arguments: object) -> float:
    """The largest resident size so far, mapped files included; Linux only.

    Not getrusage's: that one counts what the parent had in memory when it made this process.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


MEASURES: dict[str, Callable[[Side, list[int]], float]] = {
    "first_token_s": first_token,
    "prefill_tokens_per_s": prefill_tokens_per_s,
    "decode_tokens_per_s": decode_tokens_per_s,
    "candidates_tokens_per_s": candidates_tokens_per_s,
    "peak_mb": peak_mb,
}


def expect(tokens: int, wanted: int) -> None:
    if tokens != wanted:
        sys.exit(f"{tokens} tokens were drawn instead of {wanted}")


def main(arguments: Sequence[str]) -> None:
    name, model, threads = arguments
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries that print do not get between the answers
    side: Side = importlib.import_module(f"tests.benchmarks.sides.{name}").Side(Path(model), int(threads))
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(MEASURES[asked["measure"]](side, asked["prompt"])), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
