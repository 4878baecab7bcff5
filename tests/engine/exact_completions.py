"""Completes the same requests in several ways with `exact`, and prints, a line of JSON a model, how they came out.

    python -m tests.engine.exact_completions MODEL… < given.json

A process of its own, since ggml reads what `exact` sets once a process. Ways: `apart`, one after the other without
guesses; `together`, in one batch with guesses; `alone`, some of them each in an empty cache, None for the others;
`followed`, in one batch with guesses, each in two requests if the text of the first becomes the same tokens again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cgcli.engine.drafting import PassCosts
from cgcli.engine.engine import EngineOptions, LlamaEngine
from cgcli.engine.request import Completion, Request
from cgcli.engine.stops import Stops
from cgcli.engine.tokens import split_blanks
from cgcli.native.interrupt import interruptible
from cgcli.native.sample import Sampling

_COSTS = PassCosts({1: 1.0, 16: 1.1})  # so low that guesses pay on every processor, beside 20 texts, too


def requests(contexts: list[str], max_tokens: int) -> list[Request]:
    return [
        Request(text.encode(), Sampling(0.8 * (index % 2), 0.95, seed=index), Stops, max_tokens, candidate=index % 3)
        for index, text in enumerate(contexts)
    ]


def complete(engine: LlamaEngine, wanted: list[Request]) -> list[Completion]:
    found = dict(engine.complete(wanted))
    return [found[index] for index in range(len(wanted))]


def cut(engine: LlamaEngine, one: Request, whole: Completion) -> int:
    """After how many tokens, at most, a text can be cut and becomes the same tokens again; 0 if it cannot."""
    before = engine.token_table.tokens(split_blanks(one.context)[0])
    drawn = [token.token for token in whole.trace]
    for count in range(len(drawn) - 1, 0, -1):
        text = one.context + whole.text[: whole.trace[count - 1].end].encode()
        if text == split_blanks(text)[0] and engine.token_table.tokens(text) == [*before, *drawn[:count]]:
            return count
    return 0


def complete_in_two(
    engine: LlamaEngine, wanted: list[Request], whole: list[Completion]
) -> tuple[list[Completion], int]:
    """The texts, each cut once where that is possible and continued by a request that follows; and how many were."""
    cuts = [cut(engine, one, done) for one, done in zip(wanted, whole, strict=True)]
    first = [replace(one, max_tokens=count or one.max_tokens) for one, count in zip(wanted, cuts, strict=True)]
    begun: dict[int, Completion] = {}

    def follow(index: int, done: Completion) -> Request | None:
        one, count = wanted[index], cuts[index]
        if index in begun or not count:
            return None
        begun[index] = done
        context = one.context + done.text.encode()
        return replace(one, context=context, first_draw=count, max_tokens=one.max_tokens - count)

    found = dict(engine.complete(first, follow))
    joined = []
    for index in range(len(wanted)):
        parts = [begun[index], found[index]] if index in begun else [found[index]]
        trace = [token for part in parts for token in part.trace]
        mean = sum(token.logprob for token in trace) / len(trace)
        joined.append(replace(found[index], text="".join(part.text for part in parts), mean_logprob=mean))
    return joined, len(begun)


def ways(path: Path, wanted: list[Request], fresh: int) -> dict[str, object]:
    """Text and mean log-probability of each request in each way, every `fresh`-th of them alone; how many guesses were
    `kept`, and how many texts were `cut`."""
    with interruptible() as interrupt:
        with LlamaEngine(path, EngineOptions(exact=True, speculate=False), interrupt=interrupt) as engine:
            apart = [complete(engine, [one])[0] for one in wanted]
            alone: list[Completion | None] = []
            for index, one in enumerate(wanted):
                engine.cache.restart()
                alone.append(None if index % fresh else complete(engine, [one])[0])
        with LlamaEngine(path, EngineOptions(exact=True, costs=_COSTS), interrupt=interrupt) as engine:
            together = complete(engine, wanted)
            kept = engine.timings.kept
            followed, cuts = complete_in_two(engine, wanted, apart)
    drawn = {"apart": facts(apart), "together": facts(together), "alone": facts(alone), "followed": facts(followed)}
    return {**drawn, "kept": kept, "cut": cuts}


def facts(found: Sequence[Completion | None]) -> list[tuple[str, float | None] | None]:
    return [(one.text, one.mean_logprob) if one else None for one in found]


if __name__ == "__main__":
    given = json.load(sys.stdin)
    for name in sys.argv[1:]:
        wanted = requests(given["contexts"], given["max_tokens"])
        print(json.dumps(ways(Path(name), wanted, given["fresh"])), flush=True)
