"""Microseconds to append a token and guess the next ones, beside llama-cpp-python's prompt lookup, at 2,000 tokens.

    python -m tests.benchmarks.draft [--runs N]

Both sides in turn in one run, a run being 32 steps, called from Python: ours as the engine calls it; theirs as its
`Llama` does, with the history as a view of its array. Two histories: one of tokens that never repeat, and one where the
last tokens stood 1,000 tokens earlier. Both guess 10 tokens, which is theirs by default. The last line is JSON.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

import numpy as np
from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

from cgcli.native.draft import NgramIndex
from tests.benchmarks.report import command_line, measured, medians, print_facts, ratio, seconds

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

    def microseconds(step: Callable[[int], object]) -> float:
        """Of one step: the mean of STEPS in a row."""
        index.truncate(LENGTH)
        return seconds(lambda: deque(map(step, range(LENGTH, LENGTH + STEPS)), maxlen=0)) / STEPS * 1e6

    sides = {"cgk_us": partial(microseconds, ours), "lookup_us": partial(microseconds, theirs)}
    found = measured(sides, runs, warm_up=5)
    times = ratio(found["lookup_us"], found["cgk_us"])
    return {"history": name, **medians(found, 2), "times_faster": round(times, 1)}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    rows = [compare(name, runs) for name in HISTORIES]
    print("history            cgk µs  prompt lookup µs  times faster")
    for row in rows:
        print("{history:17}  {cgk_us:6}  {lookup_us:16}  {times_faster:12}".format(**row))
    print_facts("draft", length=LENGTH, runs=runs, rows=rows)


if __name__ == "__main__":
    main()
