"""The separate cache under random operations: each branch gives the logits that its tokens give alone, and a pass of
several branches is one pass over the weights."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cgcli.core.errors import CgcliError, ContextError
from cgcli.engine import cache as cache_module
from cgcli.engine.cache import Branch, Step
from cgcli.engine.context import Context
from cgcli.engine.engine import LlamaEngine
from cgcli.engine.model import Model
from cgcli.engine.request import Request
from cgcli.engine.separate_cache import SeparateCache
from cgcli.engine.shared_cache import SharedCache
from cgcli.engine.stops import Stops
from cgcli.native.sample import Sampling
from tests.engine.drawing import finish
from tests.engine.test_cache import llama_length
from tests.support.engines import MakeEngine

CELLS, PLACES = 512, 4
Operation = tuple[str, int, int]
Alone = Callable[[list[int]], NDArray[np.float32]]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Iterator[Model]:
    with Model.load(tiny_model) as model:
        yield model


@pytest.fixture(scope="module")
def alone(model: Model) -> Iterator[Alone]:
    with Context(model, n_ctx=CELLS, threads=1) as context:

        def logits(tokens: list[int]) -> NDArray[np.float32]:
            context.clear()
            context.decode(tokens)
            return context.logits(len(tokens) - 1).copy()

        yield logits


@pytest.fixture
def cache(model: Model) -> Iterator[SeparateCache]:
    cache = SeparateCache(model, threads=1, sequences=PLACES)
    cache.reserve(CELLS)
    yield cache
    cache.close()


def add(cache: SeparateCache, *branches: Branch, tokens: list[int]) -> list[NDArray[np.float32]]:
    """One pass that adds as many tokens to each; the logits that follow, in the order of `branches`."""
    order = cache.pass_order(branches)
    steps = [Step(branches[index], tokens, [len(tokens) - 1]) for index in order]
    assert cache.run(steps)
    rows = [cache.context.logits(at * len(tokens) + len(tokens) - 1).copy() for at in range(len(steps))]
    return [rows[order.index(index)] for index in range(len(branches))]


class Play:
    """Operations on a cache, as the reader and the scheduler do them, each followed by what must hold."""

    def __init__(self, model: Model) -> None:
        self.cache = SeparateCache(model, threads=1, sequences=PLACES)
        self.cache.reserve(CELLS)
        self.live: list[Branch] = []
        self.expected: dict[int, list[int]] = {}

    def do(self, operation: Operation) -> None:
        name, which, size = operation
        getattr(self, name)(which, size)
        for branch in self.live:
            assert branch.tokens == self.expected[id(branch)]
        numbers = [branch.sequence for branch in self.cache.branches]
        assert len(set(numbers)) == len(numbers)
        for branch in self.cache.branches:
            assert llama_length(self.cache.context, branch.sequence) == len(branch.tokens)

    def read(self, which: int, size: int) -> None:
        """A context that begins like some branch, then a live one on it."""
        if len(self.live) == PLACES:
            return
        draw = random.Random(which * 1000 + size)
        source = draw.choice([None, *self.cache.branches])
        length = min(size, len(source.tokens)) if source else 0
        trunk = self.cache.fork(source, length)
        tokens = draw.choices(range(97, 105), k=size)
        add(self.cache, trunk, tokens=tokens)
        whole = list(trunk.tokens)
        self.live.append(branch := self.cache.place(trunk, len(trunk.tokens)))
        self.cache.release(trunk)
        self.expected[id(branch)] = whole

    def run(self, which: int, size: int) -> None:
        if self.live:
            tokens = random.Random(which).choices(range(97, 105), k=1 + size % 3)
            add(self.cache, *self.live, tokens=tokens)
            for branch in self.live:
                self.expected[id(branch)] += tokens

    def trim(self, which: int, size: int) -> None:
        if self.live:
            branch = self.live[which % len(self.live)]
            self.cache.trim(branch, size)
            del self.expected[id(branch)][size:]

    def end(self, which: int, size: int) -> None:
        if self.live:
            branch = self.live.pop(which % len(self.live))
            del self.expected[id(branch)]
            self.cache.release(branch)


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["read", "read", "run", "run", "trim", "end"]),
        st.integers(0, 50),
        st.sampled_from([1, 3, 17, 40]),
    ),
    min_size=5,
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(operations=OPERATIONS)
def test_whatever_was_done_every_branch_is_what_its_tokens_are_alone(
    model: Model, alone: Alone, operations: list[Operation]
) -> None:
    play = Play(model)
    try:
        for operation in operations:
            play.do(operation)
        if play.live:
            for branch, logits in zip(play.live, add(play.cache, *play.live, tokens=[98]), strict=True):
                assert np.allclose(logits, alone(branch.tokens), atol=0.05)
    finally:
        play.cache.close()


def test_places_between_others_are_filled_by_the_last(cache: SeparateCache) -> None:
    trunk = cache.fork(None, 0)
    add(cache, trunk, tokens=[97, 98, 99])
    live = [cache.place(trunk, 3) for _ in range(PLACES)]
    assert [branch.sequence for branch in live] == [0, 1, 2, 3]
    first, second, third, fourth = live
    cache.release(first)
    cache.release(third)
    assert cache.pass_order([second, fourth]) == [1, 0]
    assert (fourth.sequence, second.sequence) == (0, 1)
    assert llama_length(cache.context, 0) == 3 and llama_length(cache.context, 3) == 0
    assert first not in cache.branches and third in cache.branches  # one gave up its place, the other is idle
    assert cache.place(trunk, 2).sequence == 2


def test_a_text_that_has_no_room(cache: SeparateCache) -> None:
    branch = cache.fork(None, 0)
    add(cache, branch, tokens=[97] * 300)
    with pytest.raises(ContextError, match="512 cached tokens"):
        cache.run([Step(branch, [97] * 213, ())])
    assert len(branch.tokens) == 300
    assert cache.fits([97] * 400, 112, [400]) and not cache.fits([97] * 400, 113, [])


def test_the_oldest_idle_context_goes_first_and_a_held_one_never(cache: SeparateCache) -> None:
    first, second, third, fourth = (cache.fork(None, 0) for _ in range(4))
    with pytest.raises(CgcliError, match="4 texts"):
        cache.fork(None, 0)
    add(cache, first, tokens=[97])
    for branch in (first, second):
        cache.release(branch)
    cache.fork(first, 1)
    assert first in cache.branches and second not in cache.branches
    assert third in cache.branches and fourth in cache.branches


def test_memory_is_planned(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = SeparateCache(model, threads=1, sequences=PLACES)
    monkeypatch.setattr(cache_module, "available_bytes", lambda: 8 * 1000 * model.cell_bytes)
    with pytest.raises(ContextError, match="1000 tokens for each of 8 texts") as caught:
        cache.ensure_capacity([([97] * 900, 100)], 4)
    assert caught.value.hint == "use --ctx 768" and cache.size == 0  # an eighth is left to others
    cache.ensure_capacity([([97] * 500, 100), ([97] * 900, 100)], 4)  # the first fits
    assert cache.size == 768
    cache.close()


def texts(engine: LlamaEngine, requests: list[Request]) -> list[str]:
    return [completion.text for completion in finish(engine, requests)]


def test_texts_drawn_apart_are_those_drawn_one_by_one(make_engine: MakeEngine) -> None:
    """Of random weights, whose draws are all but certain: the last bits of a logit decide nothing."""
    draw = random.Random(3)
    requests = [
        Request(
            bytes(draw.choices(b"abcdefgh \n()", k=draw.randint(5, 200))).rstrip() or b"a",
            Sampling(temperature=0.8, seed=index),
            Stops,
            max_tokens=draw.randint(1, 30),
            candidate=index,
        )
        for index in range(24)
    ]
    engine = make_engine(many=True, own_products=False, sequences=PLACES)
    assert texts(engine, requests) == texts(make_engine(sequences=1, speculate=False), requests)
    assert engine.timings.passes < sum(request.max_tokens for request in requests) / 2


def test_candidates_read_their_context_once(make_engine: MakeEngine) -> None:
    requests = [
        Request(b"abc" * 60, Sampling(0.9, seed=1), Stops, max_tokens=9, candidate=index) for index in range(12)
    ]
    engine = make_engine(many=True, own_products=False, sequences=PLACES)
    assert len(set(texts(engine, requests))) == 12
    assert engine.timings.prefill_tokens == 180
    assert engine.timings.passes == 3 * 8


def test_our_attention_exact_texts_and_a_draft_model_have_one_cache(make_engine: MakeEngine, tiny_model: Path) -> None:
    shared: tuple[dict[str, Any], ...] = ({}, {"own_products": False, "exact": True}, {"draft": tiny_model})
    for options in shared:
        assert isinstance(make_engine(many=True, **options).cache, SharedCache)
    assert isinstance(make_engine(many=True, own_products=False).cache, SeparateCache)
