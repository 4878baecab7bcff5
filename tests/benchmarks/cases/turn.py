"""The tenth turn of a session: tokens that are read beside its prompt's, and the time from Enter to its first token.

Beside it a bare pass of as many tokens as were read, at that length of context: one that gives the logits after the
last of them, as `gen` without a gauge would need, and one that gives all, as scoring the prompt does.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from cgcli.engine.context import Context
from cgcli.engine.engine import LlamaEngine
from cgcli.native.sample import Sampling
from cgcli.program.generation import Generation
from cgcli.program.program import Program
from cgcli.program.session import Session
from cgcli.program.source import decode
from tests.benchmarks.cases.common import Figure, Texts, engine, forget, models
from tests.benchmarks.report import in_turn, ratio

TURNS = 10
TOKENS = 48  # drawn in each turn before
REPEATS = 5  # of the last turn
PROMPT = "print the sum of all numbers in the list, without the largest one"


def first_token_s(session: Session, engine: LlamaEngine, program: int) -> float:
    """Seconds from a typed prompt to its first draw, its perplexity included.

    program: tokens of what is before it; an earlier reading of the prompt is forgotten, and what was tokenized.
    """
    for text in (b"a", b"b", b"c", b"d"):
        session.engine.count(text)
    cache = engine.cache
    for branch in [branch for branch in cache.branches if len(branch.tokens) > program]:
        cache.drop(branch)
    started = time.perf_counter()
    for _text in session.draw(session.read(session.plan(PROMPT))):
        pass
    return time.perf_counter() - started


def bare_s(bare: Context, ids: list[int], new: int, outputs: range | None) -> float:
    """Seconds of a pass of the last `new` ids; the others are in the cache."""
    bare.remove(0, len(ids) - new)
    started = time.perf_counter()
    bare.decode(ids[len(ids) - new :], at=len(ids) - new, outputs=outputs)
    bare.logits_address(-1)
    return time.perf_counter() - started


def of_model(name: str, path: Path, rounds: int) -> list[Figure]:
    seconds, beside = [], []
    how = Generation(Sampling(), TOKENS, redraws=0)
    with engine(path) as one, Context(one.model, n_ctx=2048, threads=one.threads) as bare:
        one.reserve(2048)
        texts = Texts(one.model, path)
        for _round in range(rounds):
            forget(one)
            session = Session(one, Program(decode(texts.next(128))), how)
            for _turn in range(TURNS - 1):
                for _text in session.add(PROMPT):
                    pass
            session.generation = replace(how, max_tokens=1)
            plan = session.plan(PROMPT)
            reading = session.read(plan)
            beside.append(reading.read - reading.prompt_tokens)
            ids, new = one.token_table.tokens(plan.context), reading.read
            bare.clear()
            for at in range(0, len(ids), bare.n_batch):
                bare.decode(ids[at : at + bare.n_batch], at=at)
            calls = (
                partial(first_token_s, session, one, one.count(plan.before)),
                partial(bare_s, bare, ids, new, None),
                partial(bare_s, bare, ids, new, range(new)),
            )
            seconds += [in_turn(repeat, calls) for repeat in range(REPEATS)]
    mine, last, every = zip(*seconds, strict=True)
    of = f"turn {TURNS}, {new} of {len(ids)} tokens"
    figures = [
        Figure(
            f"{of}: Enter to first token / bare pass{kind}, {name}",
            ratio(mine, passes),
            goal,
            1e3 * statistics.median(mine),
            1e3 * statistics.median(passes),
            "ms",
            below=True,
        )
        for kind, passes, goal in (("", last, 1.2), (" with all logits", every, None))
    ]
    figures.append(Figure(f"turn {TURNS}: tokens read beside the prompt's at most, {name}", max(beside), 3, below=True))
    return figures


def measure(rounds: int) -> list[dict[str, Any]]:
    return [asdict(figure) for name, path in models().items() for figure in of_model(name, path, rounds)]
