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
    """Guessed tokens: what followed earlier places that match the end of a sequence. All lists have their length."""

    tokens: Sequence[int]  # empty without a match
    matched: Sequence[int]  # length of the match in tokens, with the guesses before, up to MATCH_MAX
    agree: Sequence[int]  # places that the token follows ...
    of: Sequence[int]  # ... of so many


_NOTHING = Draft([], [], [], [])


class _Guesses:
    """Where guesses are written: cgk_guess [k]."""

    def __init__(self, k: int) -> None:
        self.size = k
        self._written = (ctypes.c_int32 * (4 * k))()  # ValueError if k is negative
        self._number = ctypes.c_uint32()
        self.addresses = ctypes.addressof(self._written), ctypes.addressof(self._number)

    def read(self) -> Draft:
        n = self._number.value
        if not n:
            return _NOTHING
        fields = self._written[: 4 * n]
        return Draft(fields[::4], fields[1::4], fields[2::4], fields[3::4])


class NgramIndex:
    """An index of the n-grams of one growing sequence, n from `shortest` to `longest` (1 to 8).

    Appending, removing or guessing a token takes constant time. Memory: 8 bytes per token of the capacity, and 12 to 20
    more for each n.
    """

    def __init__(self, capacity: int, *, shortest: int = 2, longest: int = 4) -> None:
        """capacity: tokens to allocate for, 1 to 2^24; grows on demand. Raises ValueError for values out of range."""
        self._grow = library().cgk_draft_grow
        self._range = shortest, longest
        self._length = 0
        self._indexed = 0  # tokens in the index; the next proposal adds the others
        self._allocate(capacity)
        self._guesses = _Guesses(16)

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
        """Guess the next k tokens, as cgk_draft_guess states: k of them, or none without a match.
        Raises ValueError for a negative k."""
        if not 0 <= k <= self._guesses.size:
            self._guesses = _Guesses(k)
        start, end = self._indexed, self._length
        self._grow(self._index_address, self._tokens_address + 4 * start, end - start, k, *self._guesses.addresses)
        self._indexed = end
        return self._guesses.read()

    def end(self) -> tuple[int, int]:
        """Address and number of the last tokens that a match may include."""
        count = min(self._length, MATCH_MAX)
        return self._tokens_address + 4 * (self._length - count), count

    def memory(self) -> bytes:
        """The index as `KeptNgrams` takes it."""
        self.propose(0)
        return bytes(self._index)

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


class KeptNgrams:
    """An index that was built before, of other texts than the sequence that it guesses for. It is only read.

    No guess goes beyond the end of a text: a negative token stands there.
    """

    def __init__(self, memory: Any) -> None:
        """memory: a writable buffer that holds `NgramIndex.memory()`, such as a private mapping of a file.

        Raises ValueError if it does not begin like an index of its size.
        """
        self._memory = (ctypes.c_uint8 * len(memory)).from_buffer(memory)
        self._address = ctypes.addressof(self._memory)
        if library().cgk_draft_check(self._address, len(self._memory)):
            raise ValueError("not an index")
        self._guess = library().cgk_draft_guess
        self._guesses = _Guesses(16)

    def propose(self, sequence: NgramIndex, k: int) -> Draft:
        """Guess the next k tokens of a sequence, as cgk_draft_guess states; k at most 16."""
        self._guess(self._address, *sequence.end(), k, *self._guesses.addresses)
        found = self._guesses.read()
        end = next((at for at, token in enumerate(found.tokens) if token < 0), None)
        if end is None:
            return found
        return Draft(found.tokens[:end], found.matched[:end], found.agree[:end], found.of[:end])
