"""The KV cache as branches: the tokens in it, and what can be evicted. It has two layouts.

A branch is a sequence of tokens in the cache. Branches that are not held stay cached until their room is needed; the
least recently used are evicted first. In `shared_cache`, branches with a common prefix share cells; in
`separate_cache`, each branch has its own.
"""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from cgcli.core.errors import ContextError
from cgcli.core.machine import available_bytes
from cgcli.engine.binding import gpu_devices
from cgcli.engine.context import Context, Row
from cgcli.engine.model import Model
from cgcli.engine.prefix import common_prefix

if TYPE_CHECKING:
    from cgcli.engine.state_memory import StateMemory

Logits = ctypes.Array[ctypes.c_float]


@dataclass(eq=False)
class Branch:
    """A sequence of tokens in the cache. Unless held, it may be evicted by the next `run`, `fork` or `make_room`."""

    sequence: int  # llama.cpp's number
    tokens: list[int] = field(default_factory=list)  # those in the cache
    cells: list[int] = field(default_factory=list)  # one per token; only in a shared cache
    logits: Logits | None = None  # after the last token, if kept: float32 [n_vocab]
    holders: int = 1  # users; it is idle without one
    last_used: int = 0
    owner: str = ""  # see `KVCache.owner`


@dataclass(frozen=True)
class Step:
    """The tokens that a pass adds to a branch."""

    branch: Branch
    tokens: Sequence[int]
    wanted: Iterable[int]  # indices of the tokens whose logits are needed


class KVCache(ABC):
    """A KV cache. It starts without cells: `reserve` creates the context."""

    #: Whether a pass may add different numbers of tokens to its branches.
    ragged_passes: ClassVar[bool]
    #: Cells that a pass may need beyond those of its tokens.
    spare_cells: ClassVar[int] = 3
    exact = False

    def __init__(self, model: Model, make_context: Callable[[int], Context]) -> None:
        """make_context: creates a context with so many cells."""
        self.model = model
        self.branches: list[Branch] = []
        self.reread = 0  # tokens read again so far to put cells in order
        self.memory: StateMemory | None = None  # of what is evicted
        #: Whose text is read next. Branches of others are not continued: the time that it takes would tell of them.
        self.owner = ""
        self._make_context = make_context
        self._context: Context | None = None
        self._clock = 0

    # Size

    @property
    def context(self) -> Context:
        if self._context is None:
            self.reserve(1)
        if self._context is None:
            raise RuntimeError("the cache has no context")
        return self._context

    @property
    @abstractmethod
    def size(self) -> int:
        """Cells for a branch; in a shared cache, for all branches together."""

    @property
    @abstractmethod
    def sequences(self) -> int:
        """Maximum number of branches, held or not."""

    @property
    def held(self) -> bool:
        return any(branch.holders for branch in self.branches)

    @abstractmethod
    def left(self, tokens: Sequence[int]) -> int:
        """Cells that held branches would leave free, with one of these tokens added; negative if it does not fit."""

    @abstractmethod
    def ensure_capacity(self, wanted: Sequence[tuple[Sequence[int], int]], together: int) -> None:
        """Provide cells for the texts that will be live together. Nothing may be held.

        wanted: the tokens of each text, and how many may follow them; together: how many are live at a time.
        Raises like `reserve` if not even the first text fits.
        """

    @abstractmethod
    def cells_for(self, tokens: int, texts: int) -> int:
        """How many cells to reserve for `texts` texts of `tokens` tokens in total."""

    @abstractmethod
    def fits(self, tokens: Sequence[int], room: int, others: Sequence[int]) -> bool:
        """Whether one more text can be live and all can finish. others: cells that each live text may still take."""

    @abstractmethod
    def reserve(self, cells: int, *, least: int | None = None) -> None:
        """Grow to `cells`, or to as many as fit into memory but at least `least` (default: all of them).

        Growing empties the cache, so nothing may be held. Clearing 8,192 cells takes as long as loading a small model,
        so reserve no more than needed. Raises ContextError if `least` cells do not fit into memory.
        """

    def _make(self, cells: int) -> None:
        """Replace the context by a new one with so many cells."""
        if self.held:
            raise RuntimeError("a cache in use cannot grow")
        for branch in self.branches:
            self._remember(branch)
        self.close()
        self._context = self._make_context(cells)
        self._clear()

    # Branches

    def longest(self, tokens: Sequence[int]) -> tuple[Branch | None, int]:
        """The branch with the longest common prefix with `tokens`, and the length of that."""
        found, shared = None, 0
        for branch in self.branches:
            if branch.owner != self.owner:
                continue
            length = common_prefix(branch.tokens, tokens)
            if self.model.recurrent and length < len(branch.tokens):
                continue
            if length > shared:
                found, shared = branch, length
        return found, shared

    @abstractmethod
    def fork(self, source: Branch | None, length: int) -> Branch:
        """A new branch, held once, with the first `length` tokens of another. Raises CgcliError if none is left."""

    @abstractmethod
    def place(self, source: Branch, length: int) -> Branch:
        """A branch to draw a completion on; otherwise like `fork`."""

    @abstractmethod
    def adopt(self, tokens: Sequence[int], state: ctypes.Array[ctypes.c_uint8]) -> Branch:
        """A branch filled with a saved state of llama.cpp. There must be room for it.

        Raises CgcliError if llama.cpp rejects the state.
        """

    @abstractmethod
    def trim(self, branch: Branch, length: int) -> None:
        """Keep the first `length` tokens of a branch."""

    def release(self, branch: Branch) -> None:
        """Stop holding a branch."""
        branch.holders -= 1

    def drop(self, branch: Branch) -> None:
        """Evict a branch; its object can then only be released."""
        if branch in self.branches:
            self.trim(branch, 0)
            self.branches.remove(branch)

    def _drop_oldest(self, branches: Sequence[Branch]) -> Branch:
        """Evict the least recently used branch and return it."""
        oldest = min(branches, key=lambda branch: branch.last_used)
        self._remember(oldest)
        self.drop(oldest)
        return oldest

    def _remember(self, branch: Branch) -> None:
        """Keep the state of a branch that is evicted; one that is recurrent cannot be shortened, so it is not kept."""
        if self.memory and not self.model.recurrent:
            self.memory.keep(self, branch)

    def _use(self, branch: Branch) -> None:
        self._clock += 1
        branch.last_used = self._clock

    @abstractmethod
    def forget(self, cells: int) -> None:
        """Evict idle branches, the least recently used first, until at most `cells` cells are theirs alone."""

    @abstractmethod
    def make_room(self, cells: int) -> None:
        """Evict idle branches until `cells` cells are free.

        Raises ContextError if held branches leave no such room, and Interrupted; branches may then be shorter.
        """

    @contextmanager
    def scratch(self, begun: Sequence[int]) -> Iterator[None]:
        """Evict what the block reads, so that no later text depends on it. Only full passes of `begun` stay.

        The tokens that a pass reads together affect the last bits of all later tokens, except with `exact`.
        begun: how later contexts begin. They would be read in the same full passes, so those can stay cached.
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
        """Prepare a pass over several branches: returns the order in which it takes them, as indices."""

    @abstractmethod
    def run(self, steps: Sequence[Step]) -> bool:
        """One pass. There must be room. False if it was interrupted; no branch is changed then."""

    def _rows(self, steps: Sequence[Step]) -> list[Row]:
        return [
            Row(token, len(step.branch.tokens) + index, step.branch.sequence, index in wanted)
            for step in steps
            for wanted in (set(step.wanted),)
            for index, token in enumerate(step.tokens)
        ]

    # The end

    def restart(self) -> None:
        """Empty the cache and its branches."""
        for branch in self.branches:
            branch.tokens, branch.cells, branch.logits = [], [], None
        self.context.clear()
        self._clear()

    def _clear(self) -> None:
        """Drop all branches."""
        self.branches = []

    def close(self) -> None:
        if self._context:
            self._context.close()
            self._context = None
            self._clear()


def usable_cells(model: Model, texts: int = 1) -> int:
    """How many cells for each of so many texts fit into 7/8 of the free memory.

    The rest is for passes, and for other processes.
    """
    return max(0, _free_bytes(model)) * 7 // 8 // max(1, model.cell_bytes * texts)


def no_memory(what: str, model: Model, cells: int, hint: str) -> ContextError:
    """The error for a cache of so many cells that does not fit into memory."""
    needed, free = cells * model.cell_bytes >> 20, _free_bytes(model) >> 20
    return ContextError(f"{what} needs {needed} MiB of memory, but only {free} MiB are free", hint=hint)


def _free_bytes(model: Model) -> int:
    """Free memory where the cache is."""
    return sum(free for _, free, _ in gpu_devices()) if model.wholly_on_gpu else available_bytes()
