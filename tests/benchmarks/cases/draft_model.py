"""The 2B shape with the 350M shape guessing for it: the same text with and without, and what guesses would be worth.

Random weights do not agree with each other, so the speed-up is computed from measured costs, for shares of guesses that
come true from 0.5 to 0.9: with k guesses a pass gives (1 - a^(k+1)) / (1 - a) tokens (Leviathan et al., 2023) and costs
a pass of k + 1 rows and k passes of the draft model.
"""

from __future__ import annotations

import statistics
from dataclasses import asdict
from typing import Any

from cgcli.engine import pass_costs
from cgcli.engine.cache import Step
from cgcli.engine.drafting import MAX_DRAFT
from cgcli.engine.engine import LlamaEngine
from tests.benchmarks.cases.common import Figure, Texts, engine, in_own_process, request, say
from tests.benchmarks.checkpoint import SHAPES
from tests.benchmarks.model import model

CONTEXT, TOKENS = 128, 24


def text(guess: bool) -> str:
    """What the target writes under --exact."""
    target, draft = model(SHAPES["2b"]), model(SHAPES["350m"])
    with engine(target, draft=draft if guess else None, speculate=guess, exact=True) as one:
        wanted = request(Texts(one.model, target).next(CONTEXT), TOKENS)
        ((_, completion),) = one.complete([wanted])
        say(f"drafted {one.timings.drafted}, kept {one.timings.kept}")
        return completion.text


def pass_s(one: LlamaEngine, ids: list[int]) -> float:
    """Seconds of a pass of one row."""
    branch = one.cache.fork(None, 0)
    pass_costs.seconds(one.cache, Step(branch, ids[:-1], [len(ids) - 2]))
    found = pass_costs.seconds(one.cache, Step(branch, ids[-1:], [0]))
    one.cache.release(branch)
    one.cache.drop(branch)
    return found


def measure(rounds: int) -> list[dict[str, Any]]:
    same = in_own_process("draft_model", "text", True) == in_own_process("draft_model", "text", False)
    target, draft = model(SHAPES["2b"]), model(SHAPES["350m"])
    with engine(target, speculate=False) as large, engine(draft, speculate=False) as small:
        ids = large.token_table.tokens(Texts(large.model, target).next(CONTEXT))
        for one in (large, small):
            one.reserve(2 * CONTEXT)
            pass_s(one, ids)  # warm-up
        pairs = [(pass_s(small, ids), pass_s(large, ids)) for _ in range(3 * rounds)]
        costs = pass_costs.measure(large.cache, ids, rounds=rounds)
    of_draft = statistics.median(a / b for a, b in pairs)
    medians = [1e3 * statistics.median(values) for values in zip(*pairs, strict=True)]
    figures = [
        Figure("2B with 350M guessing: texts that differ, --exact", float(not same), 0, unit="", below=True),
        Figure("a pass of the draft model / of the target", of_draft, None, medians[0], medians[1], "ms", below=True),
    ]
    figures += [Figure(f"a target's pass of {rows} rows / of one", cost) for rows, cost in costs.measured.items()]
    for accepted in (0.5, 0.6, 0.7, 0.8, 0.9):
        worth = {
            k: (1 - accepted ** (k + 1)) / (1 - accepted) / (costs.of(k + 1) + k * of_draft)
            for k in range(MAX_DRAFT + 1)
        }
        best = max(worth, key=worth.__getitem__)
        figures.append(Figure(f"computed: {accepted:.0%} come true, {best} guessed", worth[best]))
    return [asdict(figure) for figure in figures]
