"""Prefill: reads a context into the cache, except for the part that is cached already."""

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


class Prefill:
    """Reads contexts into a cache, one at a time."""

    def __init__(self, cache: KVCache, interrupt: Interrupt, timings: Timings) -> None:
        self._cache = cache
        self._interrupt = interrupt
        self._timings = timings

    def read(
        self,
        tokens: list[int],
        *,
        score_from: int | None = None,
        gather: Gather | None = None,
        progress: Progress | None = None,
        owner: str = "",
        cancelled: Callable[[], bool] | None = None,
    ) -> Branch:
        """A branch of exactly these tokens, with the logits after them. It is held once more.

        score_from: index (at least 1) of the first token whose prediction goes to `gather`. owner: see `KVCache`.
        cancelled: ends the reading between two passes, as Ctrl-C does. Raises ContextError if there is no room, and
        Interrupted; what was read stays cached.
        """
        cache = self._cache
        cache.owner = owner
        if cache.memory:
            cache.memory.recall(cache, tokens)
        source, shared = cache.longest(tokens)
        if source and shared == len(tokens) == len(source.tokens) and source.logits and score_from is None:
            source.holders += 1
            return source
        keep = min(shared, len(tokens) - 1 if score_from is None else score_from - 1)
        if source and cache.model.recurrent and keep < len(source.tokens):
            source, keep = None, 0
        branch = cache.fork(source, keep)
        try:
            self._read(branch, tokens, score_from, gather, progress, cancelled)
        except BaseException:
            cache.release(branch)
            raise
        return branch

    def extend(self, branch: Branch, tokens: list[int]) -> None:
        """Make a branch hold exactly these tokens, with the logits after them; otherwise like `read`."""
        branch.holders += 1
        try:
            self._cache.trim(branch, min(common_prefix(branch.tokens, tokens), len(tokens) - 1))
            self._read(branch, tokens, None, None)
        except BaseException:
            self._cache.release(branch)
            raise

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

    def _read(
        self,
        branch: Branch,
        tokens: list[int],
        score_from: int | None,
        gather: Gather | None,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        started = time.perf_counter()
        cache = self._cache
        keep, n_batch = len(branch.tokens), cache.context.n_batch
        last = 0
        shown = progress if progress and len(tokens) - keep > _LONG else Silent()
        try:
            with shown.task("reading", len(tokens) - keep, unit="steps") as task:
                for at in range(keep, len(tokens), n_batch):
                    piece = tokens[at : at + n_batch]
                    rows = range(0)
                    if score_from is not None:
                        rows = range(max(score_from - 1 - at, 0), min(len(piece), len(tokens) - 1 - at))
                    last = len(piece) - 1
                    cache.make_room(len(piece) + cache.spare_cells)
                    stopped = self._interrupt.requested or (cancelled is not None and cancelled())
                    if stopped or not cache.run([Step(branch, piece, {*rows, last})]):
                        raise Interrupted
                    if gather and rows:
                        gather(cache.context.logits_address(rows[0]), range(at + rows[0] + 1, at + rows[-1] + 2))
                    task.advance(len(piece))
            branch.logits = self._copy(cache.context.logits_address(last))
        finally:
            self._timings.prefill_s += time.perf_counter() - started
            self._timings.prefill_tokens += len(branch.tokens) - keep

    def _copy(self, address: int) -> Logits:
        """Copy logits, since the next pass overwrites llama.cpp's. All candidates of a context start from them."""
        logits = (ctypes.c_float * self._cache.model.n_vocab)()
        ctypes.memmove(logits, address, ctypes.sizeof(logits))
        return logits


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
