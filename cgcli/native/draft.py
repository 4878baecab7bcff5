"""Guesses the next tokens of a sequence from what it contains: the binding of cgk_draft (kernels/include/cgk.h).

It knows only token ids: neither where they come from, nor whether a guess was right.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cgcli.native.library import library

CAPACITY_MAX = 1 << 24  # tokens: CGK_DRAFT_CAPACITY_MAX
MATCH_MAX = 32  # tokens; longer matches are reported as this: CGK_DRAFT_MATCH_MAX


@dataclass(frozen=True, slots=True)
class Draft:
    """Guessed tokens. They followed an earlier place in the sequence that matches its end."""

    tokens: Sequence[int]  # empty without a match
    matched: int  # length of the match in tokens, up to MATCH_MAX; 0 without a match


_NOTHING = Draft([], 0)


class NgramIndex:
    """An index of the n-grams of one growing sequence, n from `shortest` to `longest` (1 to 8).

    Appending, removing or guessing a token takes constant time. Memory: 8 bytes per token of the capacity, and 12 to 20
    more for each n.
    """

    def __init__(self, capacity: int, *, shortest: int = 2, longest: int = 4) -> None:
        """capacity: tokens to allocate for, 1 to 2^24; grows on demand. Raises ValueError for values out of range."""
        self._step = library().cgk_draft_step
        self._range = shortest, longest
        self._length = 0
        self._indexed = 0  # tokens in the index; the next proposal adds the others
        self._allocate(capacity)
        self._make_room_for_guesses(16)

    def __len__(self) -> int:
        """Number of tokens in the sequence."""
        return self._length

    def append(self, tokens: Sequence[int]) -> None:
        """Append tokens of 32 bits each. Raises ValueError if there would be more than 2^24."""
        start = self._length
        end = start + len(tokens)
        if end > self._capacity:
            kept = self._tokens[:start]
            self._allocate(max(end, min(2 * self._capacity, CAPACITY_MAX)))
            self._tokens[:start] = kept
        self._tokens[start:end] = tokens
        self._length = end

    def truncate(self, length: int) -> None:
        """Keep the first `length` tokens. Raises ValueError if there are fewer."""
        if not 0 <= length <= self._length:
            raise ValueError(f"cannot keep {length} of {self._length} tokens")
        if length < self._indexed:
            library().cgk_draft_truncate(self._index_address, length)
            self._indexed = length
        self._length = length

    def propose(self, k: int) -> Draft:
        """Guess the next k tokens, as cgk_draft_propose states: k of them, or none without a match.
        Raises ValueError for a negative k."""
        if not 0 <= k <= len(self._guess):
            self._make_room_for_guesses(k)
        start, end = self._indexed, self._length
        self._step(self._index_address, self._tokens_address + 4 * start, end - start, k, *self._outputs)
        self._indexed = end
        matched = self._matched.value
        return Draft(self._guess[:k], matched) if matched else _NOTHING

    def _allocate(self, capacity: int) -> None:
        n_bytes = library().cgk_draft_bytes(capacity, *self._range) if 0 < capacity <= CAPACITY_MAX else 0
        if n_bytes == 0:
            raise ValueError(f"cannot index {capacity} tokens with n from {self._range[0]} to {self._range[1]}")
        self._capacity = capacity
        self._tokens: Any = (ctypes.c_int32 * capacity)()  # the sequence
        self._tokens_address = ctypes.addressof(self._tokens)
        self._index = ctypes.create_string_buffer(n_bytes)
        self._index_address = ctypes.addressof(self._index)
        library().cgk_draft_init(self._index_address, capacity, *self._range)
        self._indexed = 0

    def _make_room_for_guesses(self, k: int) -> None:
        self._guess = (ctypes.c_int32 * k)()  # ValueError if k is negative
        self._matched = ctypes.c_uint32()
        self._outputs = ctypes.addressof(self._guess), ctypes.addressof(self._matched)
