"""The KV cache as branches: which tokens lie in it, what may be given up, and the two ways to lay them out.

A branch is a sequence of tokens in the cache. Branches that nobody holds stay until their room is needed, the least
recently used going first. In `shared_cache` branches that begin alike share cells, in `separate_cache` each has its
own.
"""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

from cgcli.core.errors import ContextError
from cgcli.core.machine import available_bytes
from cgcli.engine.context import Context, Row
from cgcli.engine.model import Model

Logits = ctypes.Array[ctypes.c_float]


@dataclass(eq=False)
class Branch:
    """A sequence of tokens in the cache. One that nobody holds may be gone at the next `run`, `fork` or `make_room`."""

    sequence: int  # llama.cpp's number
    tokens: list[int] = field(default_factory=list)  # what lies in the cache
    cells: list[int] = field(default_factory=list)  # where, one per token; only in a shared cache
    logits: Logits | None = None  # what follows the last token, if kept: float32 [n_vocab]
    holders: int = 1  # how many use it
    last_used: int = 0


@dataclass(frozen=True)
class Step:
    """What a pass adds to a branch: tokens, and the indices of those whose logits are wanted."""

    branch: Branch
    tokens: Sequence[int]
    wanted: Iterable[int]


class KVCache(ABC):
    """A KV cache. It starts without cells: `reserve` makes the context."""

    ragged_passes: ClassVar[bool]
    """Whether one pass may add more tokens to one branch than to another."""
    spare_cells: ClassVar[int] = 3
    """Cells that a pass may need beyond its tokens."""
    exact = False

    def __init__(self, model: Model, make_context: Callable[[int], Context]) -> None:
        """make_context: of so many cells."""
        self.model = model
        self.branches: list[Branch] = []
        self.reread = 0  # tokens read again so far, to put cells in order
        self._make_context = make_context
        self._context: Context | None = None
        self._clock = 0

    # Size

    @property
    def context(self) -> Context:
        if self._context is None:
            self.reserve(1)
        if self._context is None:
            raise RuntimeError("no context was made")
        return self._context

    @property
    @abstractmethod
    def size(self) -> int:
        """Cells that a branch can have: those of all branches together where they are shared, else its own."""

    @property
    @abstractmethod
    def sequences(self) -> int:
        """Branches at most, held or not."""

    @property
    def held(self) -> bool:
        return any(branch.holders for branch in self.branches)

    @abstractmethod
    def left(self, tokens: Sequence[int]) -> int:
        """Cells that no held branch would have, once there is one of these tokens; negative where it does not fit."""

    @abstractmethod
    def ensure_capacity(self, wanted: Sequence[tuple[Sequence[int], int]], together: int) -> None:
        """Nothing is held: have cells for as many texts as may be live together.

        wanted: the tokens of each, and how many may follow them. Raises as `reserve` where not even the first has room.
        """

    @abstractmethod
    def cells_for(self, tokens: int, texts: int) -> int:
        """What to reserve for `texts` texts that have so many tokens together."""

    @abstractmethod
    def fits(self, tokens: Sequence[int], room: int, others: Sequence[int]) -> bool:
        """Whether a text can be live too, and all come to their end. others: what the live ones may still take."""

    @abstractmethod
    def reserve(self, cells: int, *, least: int | None = None) -> None:
        """Have `size` of so many, where memory allows it, and `least` (all of them, if None) in any case.

        A cache that must grow is empty afterwards, so nothing may be held. Clearing 8,192 cells takes as long as
        loading a small model: ask for what is needed. Raises ContextError where `least` do not fit into memory.
        """

    def _make(self, cells: int) -> None:
        """Make a new context of so many cells, in the place of the one that is there."""
        if self.held:
            raise RuntimeError("a cache that is in use cannot grow")
        self.close()
        self._context = self._make_context(cells)
        self._clear()

    # Branches

    def longest(self, tokens: Sequence[int]) -> tuple[Branch | None, int]:
        """The branch that begins like `tokens` for longest, and for how many."""
        found, shared = None, 0
        for branch in self.branches:
            length = common_prefix(branch.tokens, tokens)
            if self.model.recurrent and length < len(branch.tokens):
                continue
            if length > shared:
                found, shared = branch, length
        return found, shared

    @abstractmethod
    def fork(self, source: Branch | None, length: int) -> Branch:
        """A new branch, held once, with the first `length` tokens of another. Raises CgcliError where none is left."""

    @abstractmethod
    def place(self, source: Branch, length: int) -> Branch:
        """A branch to draw on, as `fork`."""

    @abstractmethod
    def adopt(self, tokens: Sequence[int], state: ctypes.Array[ctypes.c_uint8]) -> Branch:
        """A branch whose cells come from elsewhere: llama.cpp's state of a sequence. There must be room.

        Raises CgcliError where llama.cpp does not take it.
        """

    @abstractmethod
    def trim(self, branch: Branch, length: int) -> None:
        """Keep the first `length` tokens of a branch."""

    def release(self, branch: Branch) -> None:
        """Hold it no longer."""
        branch.holders -= 1

    def drop(self, branch: Branch) -> None:
        """Give up a branch; its object must not be used again, but for `release`."""
        if branch in self.branches:
            self.trim(branch, 0)
            self.branches.remove(branch)

    def _drop_oldest(self, branches: Sequence[Branch]) -> Branch:
        """Give up the least recently used one; returns it."""
        oldest = min(branches, key=lambda branch: branch.last_used)
        self.drop(oldest)
        return oldest

    def _use(self, branch: Branch) -> None:
        self._clock += 1
        branch.last_used = self._clock

    @abstractmethod
    def forget(self, cells: int) -> None:
        """Give up idle branches, the least recently used first, until they alone have so many cells at most."""

    @abstractmethod
    def make_room(self, cells: int) -> None:
        """Give up idle branches until so many cells are free.

        Raises ContextError where what is held leaves no such room, and Interrupted: branches may then be shorter.
        """

    @contextmanager
    def scratch(self, begun: Sequence[int]) -> Iterator[None]:
        """Forget what the block reads, so that no later text depends on it; only the full passes of `begun` stay.

        What a pass reads together decides the last bits of all that is read after it, except with `exact`.
        begun: how what is read afterwards begins. That would be read in just those passes, and is then known already.
        """
        before = set(self.branches)
        try:
            yield
        finally:
            for branch in set() if self.exact else set(self.branches) - before:
                known = max((common_prefix(old.tokens, branch.tokens) for old in before), default=0)
                new = common_prefix(begun, branch.tokens) - 1 - known  # the last token is read again with what follows
                full = max(0, new) // self.context.n_batch * self.context.n_batch
                if full and not self.model.recurrent:
                    self.trim(branch, known + full)
                else:
                    self.drop(branch)

    # Passes

    @abstractmethod
    def pass_order(self, branches: Sequence[Branch]) -> list[int]:
        """Before a pass of several branches: the order in which it takes them, as indices."""

    @abstractmethod
    def run(self, steps: Sequence[Step]) -> bool:
        """One pass. There must be room. False where it was interrupted: no branch then has any of it."""

    def _rows(self, steps: Sequence[Step]) -> list[Row]:
        return [
            Row(token, len(step.branch.tokens) + index, step.branch.sequence, index in wanted)
            for step in steps
            for wanted in (set(step.wanted),)
            for index, token in enumerate(step.tokens)
        ]

    # The end

    def restart(self) -> None:
        """Forget everything."""
        for branch in self.branches:
            branch.tokens, branch.cells, branch.logits = [], [], None
        self.context.clear()
        self._clear()

    def _clear(self) -> None:
        """Have no branch."""
        self.branches = []

    def close(self) -> None:
        if self._context:
            self._context.close()
            self._context = None
            self._clear()


def usable_cells(cell_bytes: int) -> int:
    """How many cells of so many bytes the free memory has room for; the rest is for passes, and for others."""
    return max(0, available_bytes()) * 7 // 8 // max(1, cell_bytes)


def no_memory(what: str, size: int, hint: str) -> ContextError:
    """The error of a cache that memory has no room for. size: in bytes."""
    return ContextError(f"{what} takes {size >> 20} MiB of memory, {available_bytes() >> 20} MiB are free", hint=hint)


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike; by halves, since slices compare fast."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
