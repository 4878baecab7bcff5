"""What a cache evicts is kept in memory, up to a limit, and each owner's is his own."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from cgcli.engine.engine import LlamaEngine
from cgcli.engine.request import Request
from tests.engine.drawing import Make, request, sound


def text(seed: int, length: int = 700) -> bytes:
    return bytes(random.Random(seed).choices(b"abcdefgh", k=length))


A, B, C = (text(seed) for seed in range(3))


def read(engine: LlamaEngine, wanted: Request) -> int:
    """How many tokens were read to draw a completion."""
    before = engine.timings.prefill_tokens
    list(engine.complete([wanted]))
    return engine.timings.prefill_tokens - before


def drawn(engine: LlamaEngine, wanted: Request) -> str:
    ((_, completion),) = engine.complete([wanted])
    return completion.text


@pytest.fixture(params=[False, True], ids=["usual", "exact"])
def engine(make_engine: Make, request: pytest.FixtureRequest) -> LlamaEngine:
    engine = make_engine(exact=request.param)
    engine.reserve(1000)  # a text with its completion, and not two
    return engine


def test_without_memory_an_evicted_text_is_read_again(engine: LlamaEngine) -> None:
    assert [read(engine, request(one)) for one in (A, B, A)] == [700, 700, 700]


def test_an_evicted_text_is_not_read_again(engine: LlamaEngine) -> None:
    engine.remember(1 << 30)
    assert [read(engine, request(one)) for one in (A, B)] == [700, 700]
    assert read(engine, request(A + b"abc")) == 3
    assert read(engine, request(B[:500] + b"xyz")) == 3
    assert read(engine, request(B[:500])) == 1  # the last token, for its logits
    assert sound(engine)


def test_the_text_is_the_same(engine: LlamaEngine, make_engine: Make) -> None:
    engine.remember(1 << 30)
    for one in (A, B, C):
        read(engine, request(one))
    fresh = make_engine(exact=engine.exact)
    assert drawn(engine, request(A, max_tokens=60)) == drawn(fresh, request(A, max_tokens=60))


def test_a_growing_cache_forgets_nothing(engine: LlamaEngine) -> None:
    engine.remember(1 << 30)
    assert read(engine, request(A)) == 700
    engine.reserve(4000)
    assert read(engine, request(A + b"abc")) == 3


def test_the_least_recently_used_goes_first(engine: LlamaEngine) -> None:
    engine.remember(1 << 30)
    read(engine, request(A))
    read(engine, request(B))
    memory = engine.cache.memory
    assert memory
    memory.most = memory.size * 5 // 2  # two texts
    assert [read(engine, request(one + b"x")) for one in (A, C, B)] == [1, 701, 1]
    assert memory.texts == 2 and memory.size <= memory.most
    assert read(engine, request(A + b"y")) == 701  # C was used after it


def test_a_text_that_is_too_large_is_not_kept(engine: LlamaEngine) -> None:
    engine.remember(1000)
    assert [read(engine, request(one)) for one in (A, B, A)] == [700, 700, 700]
    assert engine.cache.memory is not None and engine.cache.memory.texts == 0


def test_candidates_of_a_text_are_kept_once(engine: LlamaEngine) -> None:
    engine.remember(1 << 30)
    list(engine.complete([request(A, candidate=index) for index in range(5)]))
    read(engine, request(B))
    read(engine, request(C))
    assert engine.cache.memory is not None and engine.cache.memory.texts == 2


def test_nobody_gains_by_what_others_have_had_read(engine: LlamaEngine) -> None:
    """Neither while it is cached nor from memory: the time until the first token would tell that it was there."""
    engine.remember(1 << 30)
    mine, yours = (request(A, owner=owner) for owner in ("me", "you"))
    assert [read(engine, one) for one in (mine, yours)] == [700, 700]
    assert [read(engine, replace(one, context=A + b"x")) for one in (mine, yours)] == [1, 1]
    assert read(engine, request(A)) == 700
    assert [read(engine, replace(one, context=A + b"xy")) for one in (mine, yours)] == [2, 2]
    assert engine.score(A, 600) and engine.timings.prefill_tokens > 0


def test_texts_of_several_owners_are_drawn_together(engine: LlamaEngine, make_engine: Make) -> None:
    engine.remember(1 << 30)
    wanted = [request(A[:100], owner=owner, candidate=0) for owner in "abc"]
    texts = {completion.text for _, completion in engine.complete(wanted)}
    assert texts == {drawn(make_engine(exact=engine.exact), request(A[:100]))}
