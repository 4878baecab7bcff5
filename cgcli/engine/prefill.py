"""Prefill: reads contexts into the cache, except for the part that is cached already."""

from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Callable, Iterator, Sequence

from cgcli.core.errors import Interrupted
from cgcli.core.progress import Progress, Silent
from cgcli.engine.cache import Branch, KVCache, Logits, Step
from cgcli.engine.prefix import common_prefix
from cgcli.engine.request import Timings
from cgcli.native.interrupt import Interrupt

_LONG = 256  # tokens; reading more shows progress
_TOGETHER = 16  # texts that a pass scores

Gather = Callable[[int, Sequence[int]], None]
"""Called with the address of logits, float32 [rows, n_vocab], and the indices of the tokens that they predict."""


class ContextReading:
    """A context that is being read, in as many passes as that takes."""

    def __init__(
        self,
        cache: KVCache,
        branch: Branch,
        tokens: list[int],
        score_from: int | None = None,
        gather: Gather | None = None,
    ) -> None:
        """branch: has a beginning of `tokens`, and becomes them; its user holds it. The rest as in `Prefill.begin`."""
        self.branch = branch
        self.tokens = tokens
        self._cache = cache
        self._score_from = len(tokens) if score_from is None else score_from
        self._gather = gather

    @property
    def left(self) -> int:
        """Tokens that are not cached yet."""
        return len(self.tokens) - len(self.branch.tokens)

    def step(self, rows: int) -> Step:
        """The next tokens, at most `rows`, for a pass."""
        at = len(self.branch.tokens)
        piece = self.tokens[at : at + rows]
        return Step(self.branch, piece, {*self._scored(at, piece), len(piece) - 1})

    def _scored(self, at: int, piece: Sequence[int]) -> range:
        """Which tokens of a piece, the one at index `at` and those behind it, predict one whose score is wanted."""
        return range(max(self._score_from - 1 - at, 0), min(len(piece), len(self.tokens) - 1 - at))

    def passed(self, step: Step, row: int) -> None:
        """Take the logits of the pass that has just done `step`. row: the first one of it in the pass."""
        context, at = self._cache.context, len(self.branch.tokens) - len(step.tokens)
        if self._gather and (rows := self._scored(at, step.tokens)):
            self._gather(context.logits_address(row + rows[0]), range(at + rows[0] + 1, at + rows[-1] + 2))
        if not self.left:
            self.branch.logits = self._copy(context.logits_address(row + len(step.tokens) - 1))

    def _copy(self, address: int) -> Logits:
        """Copy logits, since the next pass overwrites llama.cpp's. All candidates of a context start from them."""
        logits = (ctypes.c_float * self._cache.model.n_vocab)()
        ctypes.memmove(logits, address, ctypes.sizeof(logits))
        return logits


class Prefill:
    """Reads contexts into a cache."""

    def __init__(self, cache: KVCache, interrupt: Interrupt, timings: Timings) -> None:
        self._cache = cache
        self._interrupt = interrupt
        self._timings = timings

    def begin(
        self,
        tokens: list[int],
        *,
        score_from: int | None = None,
        gather: Gather | None = None,
        owner: str = "",
    ) -> ContextReading:
        """Begin to read a context into a branch, which is held once more. Nothing is left if all of it is cached.

        score_from: index (at least 1) of the first token whose prediction goes to `gather`. owner: see `KVCache`.
        Raises CgcliError if no sequence is left.
        """
        cache = self._cache
        cache.owner = owner
        if cache.memory:
            cache.memory.recall(cache, tokens)
        source, shared = cache.longest(tokens)
        if source and shared == len(tokens) == len(source.tokens) and source.logits and score_from is None:
            source.holders += 1
            return ContextReading(cache, source, tokens)
        keep = min(shared, len(tokens) - 1 if score_from is None else score_from - 1)
        if source and cache.model.recurrent and keep < len(source.tokens):
            source, keep = None, 0
        return ContextReading(cache, cache.fork(source, keep), tokens, score_from, gather)

    def read(
        self,
        tokens: list[int],
        *,
        score_from: int | None = None,
        gather: Gather | None = None,
        progress: Progress | None = None,
        owner: str = "",
    ) -> Branch:
        """A branch of exactly these tokens, with the logits after them. It is held once more.

        As `begin`. Raises ContextError if there is no room, and Interrupted; what was read stays cached.
        """
        reading = self.begin(tokens, score_from=score_from, gather=gather, owner=owner)
        return self._finish(reading, progress)

    def extend(self, branch: Branch, tokens: list[int]) -> None:
        """Make a branch hold exactly these tokens, with the logits after them; otherwise like `read`."""
        branch.holders += 1
        self._cache.trim(branch, min(common_prefix(branch.tokens, tokens), len(tokens) - 1))
        self._finish(ContextReading(self._cache, branch, tokens))

    def score(
        self,
        contexts: Sequence[list[int]],
        firsts: Sequence[int],
        gather: Callable[[int, int, Sequence[int]], None],
        owner: str = "",
    ) -> None:
        """Predict the tokens of several contexts from index `firsts` (at least 1) on; none of them stays cached.

        gather: called as a `Gather`, with the index of a context before. A pass takes as many whole contexts as it has
        rows for. Raises like `read`.
        """
        cache = self._cache
        wanted = [index for index, tokens in enumerate(contexts) if firsts[index] < len(tokens)]
        together = cache.ragged_passes and not cache.model.recurrent and len(wanted) > 1
        shared = min((firsts[index] - 1 for index in wanted), default=0) if together else 0
        for index in wanted:
            shared = min(shared, common_prefix(contexts[wanted[0]], contexts[index]))
        trunk = self.read(contexts[wanted[0]][:shared], owner=owner) if shared else None
        try:
            sizes = [len(tokens) - shared for tokens in contexts]
            for group in _groups(wanted, sizes, cache.context.n_batch if together else 0):
                if len(group) > 1:
                    self._score_group(trunk, group, contexts, firsts, gather)
                    continue
                alone = functools.partial(gather, group[0])
                cache.release(self.read(contexts[group[0]], score_from=firsts[group[0]], gather=alone, owner=owner))
        finally:
            if trunk:
                cache.release(trunk)

    def _score_group(
        self,
        trunk: Branch | None,
        group: Sequence[int],
        contexts: Sequence[list[int]],
        firsts: Sequence[int],
        gather: Callable[[int, int, Sequence[int]], None],
    ) -> None:
        """One pass for `score`. trunk: what all contexts begin with."""
        started = time.perf_counter()
        cache, shared = self._cache, len(trunk.tokens) if trunk else 0
        branches: list[Branch] = []
        rows = 0
        try:
            for _ in group:
                branches.append(cache.fork(trunk, shared))
            steps = []
            for branch, index in zip(branches, group, strict=True):
                tokens = contexts[index]
                steps.append(Step(branch, tokens[shared:], range(firsts[index] - 1 - shared, len(tokens) - 1 - shared)))
            cache.make_room(sum(len(step.tokens) for step in steps) + cache.spare_cells)
            if self._interrupt.requested or not cache.run(steps):
                raise Interrupted
            for step, index in zip(steps, group, strict=True):
                first = firsts[index]
                address = cache.context.logits_address(rows + first - 1 - shared)
                gather(index, address, range(first, len(contexts[index])))
                rows += len(step.tokens)
        finally:
            for branch in branches:
                cache.release(branch)
                if not cache.exact:  # with exact, its cells would go to the graveyard
                    cache.drop(branch)
            self._timings.prefill_s += time.perf_counter() - started
            self._timings.prefill_tokens += rows

    def _finish(self, reading: ContextReading, progress: Progress | None = None) -> Branch:
        """Read all that is left; returns the branch, or releases it and raises like `read`."""
        started = time.perf_counter()
        cache, before = self._cache, reading.left
        shown = progress if progress and before > _LONG else Silent()
        try:
            with shown.task("reading", before, unit="steps") as task:
                while reading.left:
                    step = reading.step(cache.context.n_batch)
                    cache.make_room(len(step.tokens) + cache.spare_cells)
                    if self._interrupt.requested or not cache.run([step]):
                        raise Interrupted
                    reading.passed(step, 0)
                    task.advance(len(step.tokens))
        except BaseException:
            cache.release(reading.branch)
            raise
        finally:
            self._timings.prefill_s += time.perf_counter() - started
            self._timings.prefill_tokens += before - reading.left
        return reading.branch


def _groups(indices: Sequence[int], sizes: Sequence[int], most: int) -> Iterator[list[int]]:
    """Groups of texts, in order, with at most `most` rows together, or one text alone. sizes: of all texts, in rows."""
    group: list[int] = []
    for index in indices:
        if group and (len(group) == _TOGETHER or sum(sizes[one] for one in group) + sizes[index] > most):
            yield group
            group = []
        group.append(index)
    if group:
        yield group
