"""A KV cache whose branches share the cells of a common prefix.

Candidates of one prompt, the turns of a program and undone versions of it only cost the cells in which they differ.

With `exact`, the cells of a branch must lie in the order of its tokens. llama.cpp puts new tokens into the first free
cells, so no holes may be left: unused cells between others go to a sequence of their own, the graveyard. They are freed
all at once, by reading everything that is held again.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence

from cgcli.core.errors import CgcliError, ContextError, Interrupted
from cgcli.engine.cache import Branch, KVCache, Step, no_memory, usable_cells
from cgcli.engine.context import MAX_SEQUENCES, Context, Layout, Row
from cgcli.engine.model import Model

_STEP = 1024  # cells; also for what may be kept of texts that have ended
_FIRST_STEP = 256  # of a cache whose use is known beforehand: it begins small, since new cells must be cleared
_GRAVEYARD = 0


class SharedCache(KVCache):
    """A cache whose branches share the cells of a common prefix."""

    ragged_passes = True

    def __init__(
        self, model: Model, *, threads: int, exact: bool = False, abort: int | None = None, sequences: int = 64
    ) -> None:
        """sequences: maximum number of branches, held or not."""
        count = min(sequences + 1, MAX_SEQUENCES)
        layout: Layout = "exact" if exact else "shared"
        super().__init__(
            model,
            lambda cells: Context(model, n_ctx=cells, sequences=count, threads=threads, layout=layout, abort=abort),
        )
        self.exact = exact
        self._ids = range(_GRAVEYARD + 1, count)
        self._clear()

    def _clear(self) -> None:
        super()._clear()
        self._owners = [0] * self.size  # number of branches that each cell belongs to
        self._free = list(range(self.size))[::-1]  # taken from the end
        self._dead = 0  # cells in the graveyard

    @property
    def size(self) -> int:
        return self._context.n_ctx if self._context else 0

    @property
    def sequences(self) -> int:
        return len(self._ids)

    def left(self, tokens: Sequence[int]) -> int:
        held = {cell for branch in self.branches if branch.holders for cell in branch.cells}
        source, shared = self.longest(tokens)
        cells = source.cells[:shared] if source else []
        return self.size - len(held.union(cells)) - (len(tokens) - shared)

    def ensure_capacity(self, wanted: Sequence[tuple[Sequence[int], int]], together: int) -> None:
        contexts: set[tuple[int, ...]] = set()
        needs = []
        for tokens, room in wanted:
            context = tuple(tokens)
            needs.append(room + (0 if context in contexts else len(context)))
            contexts.add(context)
        cells = sum(sorted(needs)[-together:])
        if cells > self.size:
            # Exact passes leave dead cells behind: with more cells, everything is read again less often.
            self.reserve(_rounded(cells * 2 if self.exact else cells, _STEP), least=len(wanted[0][0]) + wanted[0][1])

    def cells_for(self, tokens: int, texts: int) -> int:
        return tokens

    def fits(self, tokens: Sequence[int], room: int, others: Sequence[int]) -> bool:
        return self.left(tokens) >= room + sum(others)

    def reserve(self, cells: int, *, least: int | None = None) -> None:
        if cells <= self.size:
            return
        least = cells if least is None else least
        fitting = self.size + usable_cells(self.model)
        if fitting < least:
            hint = f"use --ctx {fitting // 256 * 256}" if fitting >= 256 else "use a smaller model"
            raise no_memory(f"a cache of {least} tokens", self.model, least, hint)
        size = min(_rounded(cells, _STEP if self.size else _FIRST_STEP), fitting)
        enough = min(cells, self.size + _STEP)
        if least <= self.size and size < enough:  # memory is nearly full: not worth emptying the cache
            return
        self._make(size)

    def fork(self, source: Branch | None, length: int) -> Branch:
        branch = Branch(self._sequence(source), owner=source.owner if source else self.owner)
        self._use(branch)
        self.branches.append(branch)
        if source and length:
            source.last_used = self._clock
            branch.logits = source.logits if length == len(source.tokens) else None
            self._share(source, branch, length)
        return branch

    def place(self, source: Branch, length: int) -> Branch:
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
                raise CgcliError(f"too many texts at once: all {len(self._ids)} sequences are in use")
            return self._drop_oldest(idle).sequence
        return next(sequence for sequence in self._ids if sequence not in taken)

    def forget(self, cells: int) -> None:
        while not self.exact:  # with exact, evicted cells would stay in the graveyard
            idle = [branch for branch in self.branches if not branch.holders]
            held = {cell for branch in self.branches if branch.holders for cell in branch.cells}
            if len({cell for branch in idle for cell in branch.cells} - held) <= cells:
                return
            self._drop_oldest(idle)

    def make_room(self, cells: int) -> None:
        """If evicting idle branches is not enough, this empties the graveyard."""
        while len(self._free) < cells:
            idle = [branch for branch in self.branches if not branch.holders]
            if idle:
                self._drop_oldest(idle)
            elif self._dead:
                self._reread()
            else:
                raise ContextError(
                    f"no room for {cells} more tokens in a cache of {self.size}", hint="use a smaller --ctx"
                )

    def _reread(self) -> None:
        """Read all held branches again, so that their cells come first, in order. No branch may be idle."""
        held = [(branch, branch.tokens, branch.logits) for branch in self.branches]
        self.restart()
        self.branches = [branch for branch, _, _ in held]
        for branch, tokens, logits in held:
            self.owner = branch.owner
            source, shared = self.longest(tokens)
            if source:
                self._share(source, branch, shared)
            for at in range(shared, len(tokens), self.context.n_batch):
                if not self.run([Step(branch, tokens[at : at + self.context.n_batch], ())]):
                    raise Interrupted
            self.reread += len(tokens) - shared
            branch.logits = logits

    def pass_order(self, branches: Sequence[Branch]) -> list[int]:
        return list(range(len(branches)))

    def run(self, steps: Sequence[Step]) -> bool:
        context = self.context
        rows = self._rows(steps)
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
        """Pad the rows of an exact pass; returns how many were added, all to the last sequence."""
        size, last = len(rows), rows[-1]
        fill = self.model.padded(size) - size
        rows += [Row(last.token, last.position + 1 + index, last.sequence) for index in range(fill)]
        # The end of the last layer and the output only process the wanted rows, so their number must be padded too.
        wanted = sum(row.wanted for row in rows)
        more = self.model.padded(wanted) - wanted if wanted else 0
        unwanted = (index for index in (*range(size, len(rows)), *range(size)) if not rows[index].wanted)
        for index in itertools.islice(unwanted, more):
            rows[index] = rows[index]._replace(wanted=True)
        return fill

    def _append(self, branch: Branch, tokens: Sequence[int]) -> None:
        self._use(branch)
        branch.logits = None
        for token in tokens:
            cell = self._free.pop()
            self._owners[cell] = 1
            branch.tokens.append(token)
            branch.cells.append(cell)

    def _undo(self, step: Step) -> None:
        """Undo a step of an interrupted pass, which llama.cpp may have done in part."""
        if self.model.recurrent:
            self.drop(step.branch)
        else:
            self.trim(step.branch, len(step.branch.tokens) - len(step.tokens))

    def adopt(self, tokens: Sequence[int], state: ctypes.Array[ctypes.c_uint8]) -> Branch:
        branch = self.fork(None, 0)
        if not self.context.restore(branch.sequence, state):
            self.branches.remove(branch)
            raise CgcliError(f"llama.cpp rejected the saved state of {len(tokens)} tokens")
        self._append(branch, tokens)
        return branch

    def trim(self, branch: Branch, length: int) -> None:
        if length >= len(branch.tokens):
            return
        dropped = branch.cells[length:]
        del branch.tokens[length:], branch.cells[length:]
        branch.logits = None
        for cell in dropped:
            self._owners[cell] -= 1
        freed = [cell for cell in reversed(dropped) if not self._owners[cell]]
        # If the freed cells are the last ones taken, the next tokens go there again, in order.
        at_the_end = not freed or freed[-1] + len(self._free) + len(freed) == self.size
        if not self.exact or at_the_end:
            self._free += freed
        else:
            self.context.copy(branch.sequence, _GRAVEYARD, length + len(dropped) - len(freed), -1)
            self._dead += len(freed)
        self.context.remove(branch.sequence, length)

    def counts(self) -> tuple[int, int]:
        """Numbers of free cells and of cells in the graveyard."""
        return len(self._free), self._dead


def _rounded(cells: int, step: int) -> int:
    return -(-cells // step) * step
