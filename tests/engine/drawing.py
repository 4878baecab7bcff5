"""Requests to engines on the tiny model, and their completions."""

from __future__ import annotations

import random
from dataclasses import replace

from cgcli.engine.engine import LlamaEngine
from cgcli.engine.request import Completion, Request
from cgcli.engine.stops import Stops
from cgcli.native.sample import Sampling
from tests.support.engines import MakeEngine

HOT = Sampling(temperature=0.9, top_p=0.95, seed=4)
Make = MakeEngine


def request(context: bytes, **changes: object) -> Request:
    return replace(Request(context, HOT, Stops, max_tokens=24), **changes)  # type: ignore[arg-type]


def mixed(count: int, seed: int = 0, longest: int = 300) -> list[Request]:
    """Requests with contexts that share beginnings, of all lengths."""
    draw = random.Random(seed)
    texts = [bytes(draw.choices(b"abcdefgh \n()", k=longest)) for _ in range(3)]
    return [
        request(
            draw.choice(texts)[: draw.randint(1, longest)].rstrip() or b"a",
            max_tokens=draw.randint(1, 40),
            candidate=index,
            sampling=Sampling(temperature=draw.choice([0.0, 0.8]), seed=draw.randrange(9)),
        )
        for index in range(count)
    ]


def finish(engine: LlamaEngine, requests: list[Request]) -> list[Completion]:
    found = dict(engine.complete(requests))
    return [found[index] for index in range(len(requests))]


def sound(engine: LlamaEngine) -> bool:
    """Nothing is held or left in the queue."""
    return not engine.cache.held and not engine.scheduler.step()
