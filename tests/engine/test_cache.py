"""The shared cache under random operations: each branch gives the logits that its tokens give alone, and the count of
free cells agrees with llama.cpp's."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cgcli.core.errors import CgcliError, ContextError, Interrupted
from cgcli.engine import cache as cache_module
from cgcli.engine.binding import llama, without_tiles
from cgcli.engine.cache import Branch, Step
from cgcli.engine.context import Context
from cgcli.engine.model import Model
from cgcli.engine.prefix import common_prefix
from cgcli.engine.shared_cache import SharedCache
from cgcli.native.interrupt import interruptible

CELLS = 1024
PADDING = SharedCache.spare_cells
Operation = tuple[str, int, int]


def llama_length(context: Context, sequence: int) -> int:
    """Tokens of a sequence, by llama.cpp's count."""
    return int(llama().api.llama_memory_seq_pos_max(context.memory, sequence)) + 1


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Iterator[Model]:
    without_tiles()
    with Model.load(tiny_model) as model:
        yield model


@pytest.fixture(scope="module")
def alone(model: Model) -> Iterator[Callable[[list[int]], NDArray[np.float32]]]:
    """The logits after some tokens in a context that holds nothing else, read in one exact pass."""
    with Context(model, n_ctx=CELLS, threads=1, layout="exact") as context:

        def logits(tokens: list[int]) -> NDArray[np.float32]:
            context.clear()
            context.decode([*tokens, *[97] * PADDING], outputs=range(len(tokens) - 1, len(tokens) + PADDING))
            return context.logits(len(tokens) - 1).copy()

        yield logits


def make(model: Model, *, exact: bool = True, sequences: int = 8, cells: int = CELLS) -> SharedCache:
    cache = SharedCache(model, threads=1, exact=exact, sequences=sequences)
    cache.reserve(cells)
    return cache


def add(cache: SharedCache, branch: Branch, tokens: list[int]) -> None:
    """Append tokens, in passes that the context takes."""
    for at in range(0, len(tokens), cache.context.n_batch):
        piece = tokens[at : at + cache.context.n_batch]
        assert cache.run([Step(branch, piece, [len(piece) - 1])])


def following(cache: SharedCache, branch: Branch, tokens: list[int]) -> NDArray[np.float32]:
    """The logits after a branch and some tokens, which are taken off again."""
    length = len(branch.tokens)
    assert cache.run([Step(branch, tokens, [len(tokens) - 1])])
    logits = cache.context.logits(len(tokens) - 1).copy()
    cache.trim(branch, length)
    return logits


class Play:
    """Operations on a cache, each followed by what must hold."""

    def __init__(self, model: Model, exact: bool) -> None:
        self.cache = make(model, exact=exact, sequences=6)
        self.held: list[Branch] = []
        self.expected: dict[int, list[int]] = {}  # tokens of each held branch, by its identity

    def close(self) -> None:
        self.cache.close()

    def do(self, operation: Operation) -> None:
        name, which, size = operation
        getattr(self, name)(which, size)
        self.check()

    def _branch(self, which: int) -> Branch | None:
        return self.held[which % len(self.held)] if self.held else None

    def _tokens(self, which: int, size: int) -> list[int]:
        return random.Random(which * 1000 + size).choices(range(97, 105), k=size)

    def _room(self, cells: int) -> bool:
        try:
            self.cache.make_room(cells + PADDING)
        except ContextError:
            assert cells + PADDING > CELLS - self._used()
            return False
        return True

    def _used(self) -> int:
        return len({cell for branch in self.held for cell in branch.cells})

    def fork(self, which: int, size: int) -> None:
        if len(self.held) == 5:
            return
        source = random.Random(which).choice([None, *self.cache.branches])
        length = size % (len(source.tokens) + 1) if source else 0
        tokens = source.tokens[:length] if source else []
        branch = self.cache.fork(source, length)
        self.held.append(branch)
        self.expected[id(branch)] = tokens

    def run(self, which: int, size: int) -> None:
        """One pass for up to three branches, of different sizes."""
        branches = {id(branch): branch for branch in map(self._branch, range(which, which + 3)) if branch}
        steps = [Step(branch, self._tokens(which + at, size), ()) for at, branch in enumerate(branches.values())]
        if steps and self._room(size * len(steps)):
            assert self.cache.run(steps)
            for step in steps:
                self.expected[id(step.branch)] += step.tokens

    def trim(self, which: int, size: int) -> None:
        if branch := self._branch(which):
            self.cache.trim(branch, size)
            del self.expected[id(branch)][size:]

    def release(self, which: int, size: int) -> None:
        """It is idle then, and may stay."""
        if branch := self._branch(which):
            self.held.remove(branch)
            del self.expected[id(branch)]
            self.cache.release(branch)

    def drop(self, which: int, size: int) -> None:
        if branch := self._branch(which):
            self.release(which, size)
            self.cache.drop(branch)

    def make_room(self, which: int, size: int) -> None:
        self._room(8 * size)

    def interrupted(self, which: int, size: int) -> None:
        if (branch := self._branch(which)) and self._room(size):
            with interruptible() as interrupt:
                cache = self.cache
                original, cache.context.run = cache.context.run, lambda rows: original(rows) and False  # type: ignore[method-assign]
                try:
                    assert not cache.run([Step(branch, self._tokens(which, size), ())])
                finally:
                    cache.context.run = original  # type: ignore[method-assign]
                assert not interrupt.requested

    def restart(self, which: int, size: int) -> None:
        if which % 4 == 0:
            self.cache.restart()
            self.held, self.expected = [], {}

    def check(self) -> None:
        cache = self.cache
        for branch in self.held:
            assert branch in cache.branches and branch.tokens == self.expected[id(branch)]
        for branch in cache.branches:
            assert len(branch.tokens) == len(branch.cells) == llama_length(cache.context, branch.sequence)
            if cache.exact:
                assert branch.cells == sorted(branch.cells)
        used = {cell for branch in cache.branches for cell in branch.cells}
        assert cache.counts()[0] + cache.counts()[1] + len(used) == CELLS and not used.intersection(cache._free)

    def fill(self) -> None:
        """The free cells are as many as the books say: no fewer (the pass works), and no more (one more row fails)."""
        branch = self.cache.fork(None, 0) if len(self.held) < 6 else self.held[0]
        while free := self.cache.counts()[0]:
            step = [97] * min(free, 256)
            if self.cache.exact and len(step) % 2:  # an odd pass takes a row more
                step = step[:-1] or step
            if len(step) == 1:
                break
            assert self.cache.run([Step(branch, step, ())])
        if not self.cache.counts()[0]:
            with pytest.raises(CgcliError, match="could not decode"):
                self.cache.run([Step(branch, [97, 97], ())])


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "fork",
                "fork",
                "run",
                "run",
                "run",
                "trim",
                "trim",
                "release",
                "drop",
                "make_room",
                "interrupted",
                "restart",
            ]
        ),
        st.integers(0, 50),
        st.sampled_from([1, 2, 3, 5, 17, 64, 130]),
    ),
    min_size=5,
    max_size=25,
)


@settings(max_examples=20)
@given(operations=OPERATIONS)
def test_whatever_was_done_every_branch_is_what_its_tokens_are_alone(
    model: Model, alone: Callable[[list[int]], NDArray[np.float32]], operations: list[Operation]
) -> None:
    play = Play(model, exact=True)
    try:
        for operation in operations:
            play.do(operation)
        for branch in play.cache.branches:
            branch.holders += 1
        for branch in play.cache.branches:
            if play.cache.counts()[0] >= 2 + PADDING:
                logits = following(play.cache, branch, [98, 99])
                assert np.array_equal(logits, alone([*branch.tokens, 98, 99]))
        play.check()
        for branch in play.cache.branches:
            branch.holders -= 1
        play.fill()
    finally:
        play.close()


@settings(max_examples=15)
@given(operations=OPERATIONS)
def test_without_exact_the_tokens_are_the_same_and_the_logits_nearly(
    model: Model, alone: Callable[[list[int]], NDArray[np.float32]], operations: list[Operation]
) -> None:
    play = Play(model, exact=False)
    try:
        for operation in operations:
            play.do(operation)
        for branch in play.cache.branches:
            if play.cache.counts()[0] >= 2:
                logits = following(play.cache, branch, [98, 99])
                assert np.allclose(logits, alone([*branch.tokens, 98, 99]), atol=0.2)
        assert not play.cache.counts()[1]
        play.fill()
    finally:
        play.close()


def test_the_least_recently_used_goes_first_and_never_what_is_held(model: Model) -> None:
    cache = make(model, exact=False)
    old, held, middle, new = (cache.fork(None, 0) for _ in range(4))
    for branch in (old, held, middle, new):
        add(cache, branch, [branch.sequence] * 200)
    cache.release(cache.fork(old, 100))  # used again: now the newest but its own fork
    for branch in (old, middle, new):
        cache.release(branch)
    cache.make_room(CELLS - 800 + 1)
    assert middle not in cache.branches and {held, old, new} <= set(cache.branches)
    cache.make_room(CELLS - 400)
    assert new not in cache.branches and old in cache.branches
    with pytest.raises(ContextError, match=f"no room for {CELLS} more tokens in a cache of {CELLS}"):
        cache.make_room(CELLS)
    assert cache.branches == [held] and len(held.tokens) == 200
    cache.close()


def test_a_branch_gives_its_place_to_a_new_one_where_none_is_left(model: Model) -> None:
    cache = make(model, sequences=3)
    first, second, third = (cache.fork(None, 0) for _ in range(3))
    with pytest.raises(CgcliError, match="all 3 sequences are in use"):
        cache.fork(None, 0)
    add(cache, first, [97] * 5)
    add(cache, second, [98] * 5)
    for branch in (second, first):
        cache.release(branch)
    # The one that is forked from stays, though it is the least recently used.
    cache.fork(second, 5)
    assert first not in cache.branches and second in cache.branches and third in cache.branches
    cache.close()


def test_memory_is_asked_before_the_context_is_made(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = SharedCache(model, threads=1)
    monkeypatch.setattr(cache_module, "available_bytes", lambda: 3000 * model.cell_bytes)
    with pytest.raises(ContextError, match="a cache of 2700 tokens needs") as caught:
        cache.reserve(9000, least=2700)
    assert caught.value.hint == "use --ctx 2560" and cache.size == 0  # an eighth is left to others
    cache.reserve(9000, least=2600)
    assert 2600 <= cache.size <= 3000
    monkeypatch.setattr(cache_module, "available_bytes", lambda: 0)
    add(cache, branch := cache.fork(None, 0), [97] * 9)
    cache.release(branch)
    cache.reserve(9000, least=2000)  # it cannot grow: what it has is not thrown away
    assert branch in cache.branches
    with pytest.raises(ContextError, match="free"):
        cache.reserve(9000)
    cache.close()


def test_a_context_that_cannot_be_made_leaves_nothing_behind(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = make(model)
    add(cache, branch := cache.fork(None, 0), [97] * 9)
    cache.release(branch)

    def refuse(cells: int) -> Context:
        raise CgcliError("no memory")

    with monkeypatch.context() as patched:
        patched.setattr(cache, "_make_context", refuse)
        with pytest.raises(CgcliError, match="no memory"):
            cache.reserve(4000)
    assert cache.longest([97] * 9) == (None, 0)
    cache.reserve(CELLS)
    add(cache, fresh := cache.fork(None, 0), [97] * 9)
    assert fresh.cells == list(range(9))
    cache.close()


def test_cells_of_nobody_come_back_when_what_is_held_is_read_again(model: Model) -> None:
    cache = make(model)
    left, right = cache.fork(None, 0), cache.fork(None, 0)
    add(cache, left, [97] * 300)
    add(cache, right, [98] * 300)
    shared = cache.fork(right, 250)
    add(cache, shared, [99] * 50)
    cache.trim(left, 100)  # the cells of 200 tokens lie before others
    assert cache.counts()[1] == 200 and cache.counts()[0] == CELLS - 650
    before = [list(branch.tokens) for branch in (left, right, shared)]
    cache.make_room(CELLS - 450)
    assert [branch.tokens for branch in (left, right, shared)] == before
    assert (cache.counts()[1], cache.reread) == (0, 100 + 300 + 50) and right.cells[:250] == shared.cells[:250]
    cache.close()


def test_an_interrupt_while_all_is_read_again(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = make(model)
    left, right = cache.fork(None, 0), cache.fork(None, 0)
    add(cache, left, [97] * 300)
    add(cache, right, [98] * 300)
    cache.trim(left, 100)
    monkeypatch.setattr(cache, "run", lambda steps: False)
    with pytest.raises(Interrupted):
        cache.make_room(CELLS - 400)
    monkeypatch.undo()
    assert left.tokens == right.tokens == []
    for branch in (left, right):
        cache.release(branch)
    cache.make_room(CELLS)
    assert cache.longest([97] * 9) == (None, 0) and not cache.held
    cache.close()


@given(st.lists(st.integers(0, 1)), st.lists(st.integers(0, 1)))
def test_the_common_prefix_is_what_a_plain_loop_says(a: list[int], b: list[int]) -> None:
    length = 0
    while length < min(len(a), len(b)) and a[length] == b[length]:
        length += 1
    assert common_prefix(a, b) == length
