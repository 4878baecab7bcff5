"""Reading that leaves no trace: the cache afterwards is as though nobody had looked.

What a pass reads together decides the last bits of all that is read after it, except with `exact`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cgcli.engine.cache import Cache, common_prefix


@contextmanager
def aside(cache: Cache, begun: Sequence[int]) -> Iterator[None]:
    """Forget what the block reads; only the full passes of `begun` stay.

    begun: how what is read afterwards begins. That would be read in just those passes, and is then known already.
    """
    before = set(cache.branches)
    try:
        yield
    finally:
        for branch in set() if cache.exact else set(cache.branches) - before:
            known = max((common_prefix(old.tokens, branch.tokens) for old in before), default=0)
            new = common_prefix(begun, branch.tokens) - 1 - known  # the last token is read again with what follows
            full = max(0, new) // cache.context.n_batch * cache.context.n_batch
            if full and not cache.model.recurrent:
                cache.trim(branch, known + full)
            else:
                cache.drop(branch)
