"""Keeps the states of evicted texts in memory: copying one back is much faster than reading the text again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cgcli.engine.cache import Branch, KVCache
from cgcli.engine.prefix import common_prefix
from cgcli.engine.state import WORTH, State, copy_state, state_bytes

_NEW_SHARE = 4  # a state is kept if at least a fourth of its tokens is in no other


@dataclass(frozen=True, eq=False)
class _Kept:
    state: State
    owner: str


class StateMemory:
    """States of the texts that a cache has evicted; the least recently used go first."""

    def __init__(self, most: int) -> None:
        """most: bytes."""
        self.most = most
        self._kept: list[_Kept] = []  # the last used one is last

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(len(one.state.data) for one in self._kept)

    @property
    def texts(self) -> int:
        """How many there are."""
        return len(self._kept)

    def keep(self, cache: KVCache, branch: Branch) -> None:
        """Keep the state of a branch that is about to be evicted, if it is worth the memory."""
        tokens = branch.tokens
        new = len(tokens) - max((shared for _, shared in self._sharing(tokens, branch.owner)), default=0)
        if new < max(WORTH, len(tokens) // _NEW_SHARE):
            return
        size = state_bytes(cache, branch)
        if size > self.most:
            return
        self._kept = [one for one, shared in self._sharing(tokens, branch.owner) if shared < len(one.state.tokens)] + [
            one for one in self._kept if one.owner != branch.owner
        ]
        while self._kept and self.size + size > self.most:
            del self._kept[0]
        self._kept.append(_Kept(State(list(tokens), copy_state(cache, branch)), branch.owner))

    def recall(self, cache: KVCache, tokens: Sequence[int]) -> None:
        """Copy a state back into the cache if it has more of these tokens than the cache, for the cache's owner."""
        sharing = self._sharing(tokens, cache.owner)
        if not sharing:
            return
        found, shared = max(sharing, key=lambda one: one[1])
        room = len(found.state.tokens) + cache.spare_cells
        if shared < cache.longest(tokens)[1] + WORTH or cache.left([]) < room:
            return
        self._kept.remove(found)
        self._kept.append(found)
        cache.make_room(room)
        branch = cache.adopt(found.state.tokens, found.state.data)
        cache.trim(branch, shared)
        cache.release(branch)

    def _sharing(self, tokens: Sequence[int], owner: str) -> list[tuple[_Kept, int]]:
        """The states of an owner, with the number of tokens that they have in common with these."""
        return [(one, common_prefix(one.state.tokens, tokens)) for one in self._kept if one.owner == owner]
