"""Prefill: reads a context into the cache, except for the part that is cached already."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence

from cgcli.core.errors import Interrupted
from cgcli.core.progress import Progress, Silent
from cgcli.engine.cache import Branch, KVCache, Logits, Step, common_prefix
from cgcli.engine.request import Timings
from cgcli.native.interrupt import Interrupt

_LONG = 256  # tokens; reading more shows progress

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
    ) -> Branch:
        """A branch of exactly these tokens, with the logits after them. It is held once more.

        score_from: index (at least 1) of the first token whose prediction goes to `gather`.
        Raises ContextError if there is no room, and Interrupted; what was read stays cached.
        """
        cache = self._cache
        source, shared = cache.longest(tokens)
        if source and shared == len(tokens) == len(source.tokens) and source.logits and score_from is None:
            source.holders += 1
            return source
        keep = min(shared, len(tokens) - 1 if score_from is None else score_from - 1)
        if source and cache.model.recurrent and keep < len(source.tokens):
            source, keep = None, 0
        branch = cache.fork(source, keep)
        try:
            self._read(branch, tokens, score_from, gather, progress)
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

    def _read(
        self,
        branch: Branch,
        tokens: list[int],
        score_from: int | None,
        gather: Gather | None,
        progress: Progress | None = None,
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
                    if self._interrupt.requested or not cache.run([Step(branch, piece, {*rows, last})]):
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
