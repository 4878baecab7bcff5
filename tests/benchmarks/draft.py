"""Microseconds to append a token and guess the next ones, beside llama-cpp-python's prompt lookup, at 2,000 tokens.

    python -m tests.benchmarks.draft [--runs N]

Both sides in turn in one run, a run being 32 steps, called from Python: ours as the engine calls it; theirs as its
`Llama` does, with the history as a view of its array. Two histories: one of tokens that never repeat, and one where the
last tokens stood 1,000 tokens earlier. Both guess 10 tokens, which is theirs by default. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

from cgcli.native.draft import NgramIndex

LENGTH = 2000
GUESSED = 10
STEPS = 32
HISTORIES = {"nothing matches": np.arange(4096), "a match": np.arange(4096) % 1000}


def compare(name: str, runs: int) -> dict[str, float | str]:
    history = HISTORIES[name].astype(np.intc)
    tokens = history.tolist()
    lookup = LlamaPromptLookupDecoding(num_pred_tokens=GUESSED)
    index = NgramIndex(len(tokens))
    index.append(tokens[:LENGTH])

    def theirs(position: int) -> object:
        return lookup(history[: position + 1])

    def ours(position: int) -> object:
        index.append([tokens[position]])
        return index.propose(GUESSED)

    pairs = []
    for _ in range(runs + 5):  # the first five are warm-up
        index.truncate(LENGTH)
        pairs.append((microseconds(ours), microseconds(theirs)))
    pairs = pairs[5:]
    return {
        "history": name,
        "cgk_us": round(statistics.median(mine for mine, _ in pairs), 2),
        "lookup_us": round(statistics.median(other for _, other in pairs), 1),
        "times_faster": round(statistics.median(other / mine for mine, other in pairs), 1),
    }


def microseconds(step: Callable[[int], object]) -> float:
    """Of one step: the mean of STEPS in a row."""
    started = time.perf_counter()
    for position in range(LENGTH, LENGTH + STEPS):
        step(position)
    return (time.perf_counter() - started) / STEPS * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    rows = [compare(name, runs) for name in HISTORIES]
    print("history            cgk µs  prompt lookup µs  times faster")
    for row in rows:
        print("{history:17}  {cgk_us:6}  {lookup_us:16}  {times_faster:12}".format(**row))
    print(
        json.dumps(
            {"machine": platform.processor() or platform.machine(), "length": LENGTH, "runs": runs, "rows": rows}
        )
    )


if __name__ == "__main__":
    main()
