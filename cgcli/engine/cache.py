"""The KV cache as branches: which tokens lie in which cells, what is shared, what may be given up.

A branch is a sequence of tokens in the cache. Branches that begin alike share cells, so that candidates of one prompt,
the turns of a program and an undone version of it cost only what differs. Branches that nobody holds stay until their
room is needed, the least recently used going first.

With `exact`, the cells of a branch must lie in the order of its tokens. llama.cpp puts new tokens into the first free
cells, so a hole is never left: cells between others that are nobody's go to a sequence of their own, the grave, and
come back all at once, when what is held is read again.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from cgcli.core.errors import CgcliError, ContextError, Interrupted
from cgcli.core.memory import available_bytes
from cgcli.engine.context import MAX_SEQUENCES, Context, Row, padded
from cgcli.engine.llama import Model

_STEP = 1024  # cells
_GRAVE = 0
Logits = ctypes.Array[ctypes.c_float]


@dataclass(eq=False)
class Branch:
    """tokens: what lies in the cache; cells: where, one each; logits: what follows the last of them, if kept.

    holders: how many use it; one that nobody holds may be gone at the next `run`, `fork` or `make_room`.
    """

    sequence: int
    tokens: list[int] = field(default_factory=list)
    cells: list[int] = field(default_factory=list)
    logits: Logits | None = None
    holders: int = 1
    last_used: int = 0


@dataclass(frozen=True)
class Step:
    """What a pass adds to a branch: tokens, and the indices in them whose logits are wanted."""

    branch: Branch
    tokens: Sequence[int]
    wanted: Iterable[int]


class Cache:
    """Starts with no cell at all: `reserve` makes the context.

    PADDING: cells that a pass may need beyond its tokens. UNEVEN: whether one pass over the weights may add more tokens
    to one branch than to another. reread: tokens read again so far, to put cells in order.
    """

    PADDING = 3
    UNEVEN = True

    def __init__(
        self, model: Model, *, threads: int, exact: bool = False, abort: int | None = None, sequences: int = 64
    ) -> None:
        """sequences: branches at most, held or not."""
        self.model = model
        self.exact = exact
        self._make: Callable[[int], Context] = lambda cells: Context(
            model, n_ctx=cells, sequences=min(sequences + 1, MAX_SEQUENCES), threads=threads, exact=exact, abort=abort
        )
        self._ids = range(_GRAVE + 1, min(sequences + 1, MAX_SEQUENCES))
        self._context: Context | None = None
        self._clock = 0
        self.reread = 0
        self._clear()

    def _clear(self) -> None:
        self.branches: list[Branch] = []
        self._owners = [0] * self.size  # branches that each cell belongs to
        self._free = list(range(self.size))[::-1]  # the next one to take comes last
        self._dead = 0  # cells in the grave

    @property
    def context(self) -> Context:
        if self._context is None:
            self.reserve(1)
        assert self._context is not None
        return self._context

    @property
    def size(self) -> int:
        """Cells in all."""
        return self._context.n_ctx if self._context else 0

    @property
    def sequences(self) -> int:
        """Branches at most, held or not."""
        return len(self._ids)

    @property
    def held(self) -> bool:
        return any(branch.holders for branch in self.branches)

    def left(self, tokens: Sequence[int]) -> int:
        """Cells that no held branch would have, once there is one of these tokens; negative where it does not fit."""
        held = {cell for branch in self.branches if branch.holders for cell in branch.cells}
        source, shared = self.longest(tokens)
        cells = source.cells[:shared] if source else []
        return self.size - len(held.union(cells)) - (len(tokens) - shared)

    def plan(self, wanted: Sequence[tuple[Sequence[int], int]], together: int) -> None:
        """Nothing is held: have cells for as many texts as may be live together. wanted: the tokens of each, and how
        many may follow them. Raises as `reserve` where not even the first has room."""
        contexts: set[tuple[int, ...]] = set()
        needs = []
        for tokens, room in wanted:
            context = tuple(tokens)
            needs.append(room + (0 if context in contexts else len(context)))
            contexts.add(context)
        cells = sum(sorted(needs)[-together:])
        if cells > self.size:
            # Exact passes leave dead cells behind: the more cells there are, the seldomer all is read again.
            self.reserve(cells * 2 if self.exact else cells, least=len(wanted[0][0]) + wanted[0][1])

    def share(self, cells: int, texts: int) -> int:
        """What to reserve for `texts` texts that have so many tokens together."""
        return cells

    def fits(self, tokens: Sequence[int], room: int, others: Sequence[int]) -> bool:
        """Whether a text can be live too, and all come to their end. others: what the live ones may still take."""
        return self.left(tokens) >= room + sum(others)

    def reserve(self, cells: int, *, least: int | None = None) -> None:
        """Have so many cells, where memory allows it, and `least` (all of them, if None) in any case.

        A cache that must grow is empty afterwards, so nothing may be held. Clearing 8,192 cells takes as long as
        loading a small model: ask for what is needed. Raises ContextError where `least` do not fit into memory.
        """
        if cells <= self.size:
            return
        least = cells if least is None else least
        # The rest is for what a pass needs beside the cache, and for others.
        fitting = self.size + max(0, available_bytes()) * 7 // 8 // max(1, self.model.cell_bytes)
        if fitting < least:
            raise ContextError(
                f"the cache of {least} tokens takes {least * self.model.cell_bytes >> 20} MiB of memory, "
                f"{available_bytes() >> 20} MiB are free",
                hint=f"--ctx {fitting // 256 * 256}" if fitting >= 256 else "a smaller model",
            )
        assert not self.held
        size = min(-(-cells // _STEP) * _STEP, fitting)
        if least <= self.size and size < self.size + _STEP:  # memory is at its end: not worth what the cache has
            return
        self.close()
        self._context = self._make(size)
        self._clear()

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

    def fork(self, source: Branch | None, length: int) -> Branch:
        """A new branch, held once, with the first `length` tokens of another. Raises CgcliError where none is left."""
        branch = Branch(self._sequence(source))
        self._clock += 1
        branch.last_used = self._clock
        self.branches.append(branch)
        if source and length:
            source.last_used = self._clock
            branch.logits = source.logits if length == len(source.tokens) else None
            self._share(source, branch, length)
        return branch

    def seat(self, source: Branch, length: int) -> Branch:
        """A branch to draw on, as `fork`."""
        return self.fork(source, length)

    def _share(self, source: Branch, branch: Branch, length: int) -> None:
        branch.tokens, branch.cells = source.tokens[:length], source.cells[:length]
        for cell in branch.cells:
            self._owners[cell] += 1
        self.context.copy(source.sequence, branch.sequence, 0, length)

    def _sequence(self, kept: Branch | None) -> int:
        taken = {branch.sequence for branch in self.branches}
        if len(taken) == len(self._ids):
            idle = [branch for branch in self.branches if not branch.holders and branch is not kept]
            if not idle:
                raise CgcliError(f"more than {len(self._ids)} sequences are in use")
            oldest = min(idle, key=lambda branch: branch.last_used)
            self.drop(oldest)
            return oldest.sequence
        return next(sequence for sequence in self._ids if sequence not in taken)

    def forget(self, cells: int) -> None:
        """Give up idle branches, the least recently used first, until they alone have so many cells at most.

        Not with `exact`, where given up cells stay in the grave.
        """
        while not self.exact:
            idle = [branch for branch in self.branches if not branch.holders]
            held = {cell for branch in self.branches if branch.holders for cell in branch.cells}
            if len({cell for branch in idle for cell in branch.cells} - held) <= cells:
                return
            self.drop(min(idle, key=lambda branch: branch.last_used))

    def make_room(self, cells: int) -> None:
        """Give up idle branches until so many cells are free; where that is not enough, empty the grave.

        Raises ContextError where what is held leaves no such room, and Interrupted: branches may then be shorter.
        """
        while len(self._free) < cells:
            idle = [branch for branch in self.branches if not branch.holders]
            if idle:
                self.drop(min(idle, key=lambda branch: branch.last_used))
            elif self._dead:
                self._reread()
            else:
                raise ContextError(f"no room for {cells} more tokens in a cache of {self.size}", hint="a smaller --ctx")

    def _reread(self) -> None:
        """Read all that is held again: its cells then come first, in order. Nothing is idle."""
        held = [(branch, branch.tokens, branch.logits) for branch in self.branches]
        self.restart()
        self.branches = [branch for branch, _, _ in held]
        for branch, tokens, logits in held:
            source, shared = self.longest(tokens)
            if source:
                self._share(source, branch, shared)
            for at in range(shared, len(tokens), self.context.n_batch):
                if not self.run([Step(branch, tokens[at : at + self.context.n_batch], ())]):
                    raise Interrupted
            self.reread += len(tokens) - shared
            branch.logits = logits

    def restart(self) -> None:
        """Forget everything."""
        for branch in self.branches:
            branch.tokens, branch.cells, branch.logits = [], [], None
        self.context.clear()
        self._clear()

    def line_up(self, branches: Sequence[Branch]) -> list[int]:
        """Before a pass of several branches: the order in which it takes them, as indices."""
        return list(range(len(branches)))

    def run(self, steps: Sequence[Step]) -> bool:
        """One pass. There must be room. False where it was interrupted: no branch then has any of it."""
        context = self.context
        rows = [
            Row(token, len(step.branch.tokens) + index, step.branch.sequence, index in wanted)
            for step in steps
            for wanted in (set(step.wanted),)
            for index, token in enumerate(step.tokens)
        ]
        last = steps[-1]
        fill = self._pad(rows) if self.exact else 0
        done = context.run(rows)
        for step in steps:
            self._append(step.branch, [*step.tokens, *([rows[-1].token] * fill if step is last else [])])
        if fill:
            self.trim(last.branch, len(last.branch.tokens) - fill)
        if not done:
            for step in reversed(steps):
                self._undo(step)
        return done

    def _pad(self, rows: list[Row]) -> int:
        """Make an exact pass of some rows; returns how many more there are then, all of the last sequence."""
        quant, size, last = self.model.header.quant, len(rows), rows[-1]
        fill = padded(quant, size) - size
        rows += [Row(last.token, last.position + 1 + index, last.sequence) for index in range(fill)]
        # The end of the last layer and the output see the wanted rows alone: these must be so many, too.
        wanted = sum(row.wanted for row in rows)
        more = padded(quant, wanted) - wanted if wanted else 0
        unwanted = (index for index in (*range(size, len(rows)), *range(size)) if not rows[index].wanted)
        for index in itertools.islice(unwanted, more):
            rows[index] = rows[index]._replace(wanted=True)
        return fill

    def _append(self, branch: Branch, tokens: Sequence[int]) -> None:
        self._clock += 1
        branch.last_used = self._clock
        branch.logits = None
        for token in tokens:
            cell = self._free.pop()
            self._owners[cell] = 1
            branch.tokens.append(token)
            branch.cells.append(cell)

    def _undo(self, step: Step) -> None:
        """After an interrupted pass, of which llama.cpp may have done some."""
        if self.model.recurrent:
            self.drop(step.branch)
        else:
            self.trim(step.branch, len(step.branch.tokens) - len(step.tokens))

    def adopt(self, tokens: Sequence[int], state: ctypes.Array[ctypes.c_uint8]) -> Branch:
        """A branch whose cells come from elsewhere: llama.cpp's state of a sequence. There must be room.

        Raises CgcliError where llama.cpp does not take it.
        """
        branch = self.fork(None, 0)
        if not self.context.restore(branch.sequence, state):
            self.branches.remove(branch)
            raise CgcliError(f"llama.cpp does not take the state of {len(tokens)} tokens")
        self._append(branch, tokens)
        return branch

    def trim(self, branch: Branch, length: int) -> None:
        """Keep the first `length` tokens of a branch."""
        if length >= len(branch.tokens):
            return
        dropped = branch.cells[length:]
        del branch.tokens[length:], branch.cells[length:]
        branch.logits = None
        for cell in dropped:
            self._owners[cell] -= 1
        freed = [cell for cell in reversed(dropped) if not self._owners[cell]]
        # Freed cells are the last ones taken: then the next tokens come there again, in order.
        at_the_end = not freed or freed[-1] + len(self._free) + len(freed) == self.size
        if not self.exact or at_the_end:
            self._free += freed
        else:
            self.context.copy(branch.sequence, _GRAVE, length + len(dropped) - len(freed), -1)
            self._dead += len(freed)
        self.context.remove(branch.sequence, length)

    def release(self, branch: Branch) -> None:
        """Hold it no longer."""
        branch.holders -= 1

    def drop(self, branch: Branch) -> None:
        """Give up a branch; its object must not be used again, but for `release`."""
        if branch in self.branches:
            self.trim(branch, 0)
            self.branches.remove(branch)

    def close(self) -> None:
        if self._context:
            self._context.close()
            self._context = None
            self._clear()


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
