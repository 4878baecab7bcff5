"""Completes the same requests in several ways with `exact`, and prints, a line of JSON a model, how they came out.

    python -m tests.engine.exact_completions MODEL… < given.json

A process of its own, since ggml reads what `exact` sets once a process. Ways: `apart`, one after the other without
guesses; `together`, in one batch with guesses; `alone`, some of them each in an empty cache, None for the others.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from cgcli.engine.engine import EngineOptions, LlamaEngine
from cgcli.engine.request import Completion, Request
from cgcli.engine.stops import Stops
from cgcli.native.interrupt import interruptible
from cgcli.native.sample import Sampling


def requests(contexts: list[str], max_tokens: int) -> list[Request]:
    return [
        Request(text.encode(), Sampling(0.8 * (index % 2), 0.95, seed=index), Stops, max_tokens, candidate=index % 3)
        for index, text in enumerate(contexts)
    ]


def complete(engine: LlamaEngine, wanted: list[Request]) -> list[Completion]:
    found = dict(engine.complete(wanted))
    return [found[index] for index in range(len(wanted))]


def ways(path: Path, wanted: list[Request], fresh: int) -> dict[str, object]:
    """Text and mean log-probability of each request in each way, every `fresh`-th of them alone; and how many guesses
    were `kept`."""
    with interruptible() as interrupt:
        with LlamaEngine(path, EngineOptions(exact=True, speculate=False), interrupt=interrupt) as engine:
            apart = [complete(engine, [one])[0] for one in wanted]
            alone: list[Completion | None] = []
            for index, one in enumerate(wanted):
                engine.cache.restart()
                alone.append(None if index % fresh else complete(engine, [one])[0])
        with LlamaEngine(path, EngineOptions(exact=True), interrupt=interrupt) as engine:
            together = complete(engine, wanted)
            kept = engine.timings.kept
    return {"apart": facts(apart), "together": facts(together), "alone": facts(alone), "kept": kept}


def facts(found: Sequence[Completion | None]) -> list[tuple[str, float | None] | None]:
    return [(one.text, one.mean_logprob) if one else None for one in found]


if __name__ == "__main__":
    given = json.load(sys.stdin)
    for name in sys.argv[1:]:
        wanted = requests(given["contexts"], given["max_tokens"])
        print(json.dumps(ways(Path(name), wanted, given["fresh"])), flush=True)
