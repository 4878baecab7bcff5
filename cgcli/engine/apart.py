"""A KV cache whose branches lie apart: each has cells of its own, and its rows attend over no others.

In the shared cache (`cache`) a row attends over all cells, those of others under a mask: that suits one text, its
undone versions and short candidates, but sixteen texts of 600 tokens then cost sixteen times the attention. Here what
begins alike is copied, which takes as long as reading a few tokens, and memory is that of the longest text for each.

llama.cpp takes the rows of several branches in one pass over the weights only if their sequences have numbers in a row
and each adds as many tokens. So live branches have places, 0 and up, and none is left empty between others.
"""

from __future__ import annotations

from collections.abc import Sequence

from cgcli.core.errors import CgcliError, ContextError
from cgcli.core.memory import available_bytes
from cgcli.engine.cache import Branch, Cache, Step
from cgcli.engine.context import MAX_SEQUENCES, Context
from cgcli.engine.llama import Model

_STEP = 256  # cells
_SPARE = 4  # sequences beside the places: for the context that is read, and for what others may begin with


class Apart(Cache):
    """`size`, and what `reserve` and `left` speak of, are the cells of each branch."""

    UNEVEN = False

    def __init__(self, model: Model, *, threads: int, abort: int | None = None, sequences: int = 16) -> None:
        """sequences: live branches at most."""
        places = min(sequences, MAX_SEQUENCES - _SPARE)
        self._places = range(places)
        super().__init__(model, threads=threads, abort=abort, sequences=places + _SPARE)
        self._ids = range(places, places + _SPARE)
        self._make = lambda cells: Context(
            model, n_ctx=cells * (places + _SPARE), sequences=places + _SPARE, threads=threads, abort=abort, apart=True
        )

    def _clear(self) -> None:
        self.branches = []

    @property
    def size(self) -> int:
        return self._context.n_ctx // (len(self._places) + _SPARE) if self._context else 0

    @property
    def sequences(self) -> int:
        return len(self._places) + 1

    def left(self, tokens: Sequence[int]) -> int:
        return self.size - len(tokens)

    def plan(self, wanted: Sequence[tuple[Sequence[int], int]], together: int) -> None:
        needs = [len(tokens) + room for tokens, room in wanted]
        if max(needs) > self.size:
            self.reserve(max(needs), least=needs[0])

    def share(self, cells: int, texts: int) -> int:
        return cells if texts == 1 else 3 * cells // (2 * texts)  # half more than the mean; longer ones are rare

    def fits(self, tokens: Sequence[int], room: int, others: Sequence[int]) -> bool:
        return len(tokens) + room <= self.size

    def reserve(self, cells: int, *, least: int | None = None) -> None:
        if cells <= self.size:
            return
        least = cells if least is None else least
        sequences = len(self._places) + _SPARE
        free = max(0, available_bytes()) * 7 // 8  # the rest is for what a pass needs beside the cache, and for others
        fitting = (self.size + free // max(1, self.model.cell_bytes * sequences)) // _STEP * _STEP
        if fitting < least:
            raise ContextError(
                f"{sequences} caches of {least} tokens take {sequences * least * self.model.cell_bytes >> 20} MiB of "
                f"memory, {available_bytes() >> 20} MiB are free",
                hint=f"--ctx {fitting}" if fitting else "a smaller model",
            )
        assert not self.held
        self.close()
        self._context = self._make(min(-(-cells // _STEP) * _STEP, fitting))
        self._clear()

    def seat(self, source: Branch, length: int) -> Branch:
        held = {branch.sequence for branch in self.branches if branch.holders}
        place = next(place for place in self._places if place not in held)
        self._vacate(place)
        branch = Branch(place)
        self._clock += 1
        branch.last_used = self._clock
        self.branches.append(branch)
        branch.logits = source.logits if length == len(source.tokens) else None
        self._share(source, branch, length)
        return branch

    def _vacate(self, place: int) -> None:
        for branch in [branch for branch in self.branches if branch.sequence == place]:
            self.drop(branch)

    def _share(self, source: Branch, branch: Branch, length: int) -> None:
        branch.tokens = source.tokens[:length]
        self.context.copy(source.sequence, branch.sequence, 0, length)

    def run(self, steps: Sequence[Step]) -> bool:
        for step in steps:
            if len(step.branch.tokens) + len(step.tokens) > self.size:
                raise ContextError(f"no room for more than {self.size} tokens of a text", hint="a larger --ctx")
        return super().run(steps)

    def line_up(self, branches: Sequence[Branch]) -> list[int]:
        """The last of them move to places that are empty between them."""
        taken = {branch.sequence for branch in branches}
        for hole in range(len(branches)) if len(branches) > 1 else ():
            if hole not in taken:
                branch = max(branches, key=lambda branch: branch.sequence)
                self._vacate(hole)
                old, branch.sequence = branch.sequence, hole
                self.context.copy(old, hole, 0, len(branch.tokens))
                self.context.remove(old)
        return sorted(range(len(branches)), key=lambda index: branches[index].sequence)

    def _append(self, branch: Branch, tokens: Sequence[int]) -> None:
        self._clock += 1
        branch.last_used = self._clock
        branch.logits = None
        branch.tokens += tokens

    def trim(self, branch: Branch, length: int) -> None:
        if length >= len(branch.tokens):
            return
        del branch.tokens[length:]
        branch.logits = None
        self.context.remove(branch.sequence, length)

    def forget(self, cells: int) -> None:
        """Idle branches cost nothing here but their place."""

    def make_room(self, cells: int) -> None:
        """Each branch has all that it may take; `run` refuses more."""

    def _sequence(self, kept: Branch | None) -> int:
        taken = {branch.sequence: branch for branch in self.branches}
        for number in self._ids:
            if number not in taken:
                return number
        idle = [taken[number] for number in self._ids if not taken[number].holders and taken[number] is not kept]
        if not idle:
            raise CgcliError(f"more than {_SPARE} texts are read at once")
        oldest = min(idle, key=lambda branch: branch.last_used)
        self.drop(oldest)
        return oldest.sequence
