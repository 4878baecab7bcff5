"""A KV cache whose branches each have their own cells, and attend over no others.

In a shared cache a row attends over all cells and masks those of other branches. That suits one text, its undone
versions and short candidates, but makes sixteen texts of 600 tokens cost sixteen times the attention. Here a common
prefix is copied, which takes as long as reading a few tokens, and each branch takes the memory of the longest text.

llama.cpp processes several branches in one pass over the weights only if their sequences have consecutive numbers and
each adds equally many tokens. So live branches have places, 0 and up, without gaps.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from cgcli.core.errors import CgcliError, ContextError
from cgcli.engine.cache import Branch, KVCache, Step, no_memory, usable_cells
from cgcli.engine.context import MAX_SEQUENCES, Context
from cgcli.engine.model import Model

_STEP = 256  # cells
_SPARE = 4  # sequences besides the places: for the context being read, and for contexts that others may begin with


class SeparateCache(KVCache):
    """A cache that gives each branch its own cells; `size` and `left` count the cells of one branch."""

    ragged_passes = False

    def __init__(self, model: Model, *, threads: int, abort: int | None = None, sequences: int = 16) -> None:
        """sequences: maximum number of live branches."""
        places = min(sequences, MAX_SEQUENCES - _SPARE)
        self._places = range(places)
        self._ids = range(places, places + _SPARE)
        super().__init__(
            model,
            lambda cells: Context(
                model,
                n_ctx=cells * (places + _SPARE),
                sequences=places + _SPARE,
                threads=threads,
                abort=abort,
                layout="separate",
            ),
        )

    @property
    def size(self) -> int:
        return self._context.n_ctx // (len(self._places) + _SPARE) if self._context else 0

    @property
    def sequences(self) -> int:
        return len(self._places) + 1

    def left(self, tokens: Sequence[int]) -> int:
        return self.size - len(tokens)

    def ensure_capacity(self, wanted: Sequence[tuple[Sequence[int], int]], together: int) -> None:
        needs = [len(tokens) + room for tokens, room in wanted]
        if max(needs) > self.size:
            self.reserve(max(needs), least=needs[0])

    def cells_for(self, tokens: int, texts: int) -> int:
        return tokens if texts == 1 else 3 * tokens // (2 * texts)  # 1.5 times the mean; longer texts are rare

    def fits(self, tokens: Sequence[int], room: int, others: Sequence[int]) -> bool:
        return len(tokens) + room <= self.size

    def reserve(self, cells: int, *, least: int | None = None) -> None:
        if cells <= self.size:
            return
        least = cells if least is None else least
        sequences = len(self._places) + _SPARE
        fitting = (self.size + usable_cells(self.model, sequences)) // _STEP * _STEP
        if fitting < least:
            hint = f"use --ctx {fitting}" if fitting else "use a smaller model"
            what = f"a cache of {least} tokens for each of {sequences} texts"
            raise no_memory(what, self.model, least * sequences, hint)
        self._make(min(-(-cells // _STEP) * _STEP, fitting))

    def fork(self, source: Branch | None, length: int) -> Branch:
        branch = self._new(self._sequence(source))
        if source and length:
            self._use(source)
            self._copy(source, branch, length)
        return branch

    def place(self, source: Branch, length: int) -> Branch:
        held = {branch.sequence for branch in self.branches if branch.holders}
        place = next(place for place in self._places if place not in held)
        self._vacate(place)
        branch = self._new(place)
        self._copy(source, branch, length)
        return branch

    def adopt(self, tokens: Sequence[int], state: ctypes.Array[ctypes.c_uint8]) -> Branch:
        raise CgcliError("separate caches cannot load a saved state")

    def _new(self, sequence: int) -> Branch:
        branch = Branch(sequence)
        self._use(branch)
        self.branches.append(branch)
        return branch

    def _vacate(self, place: int) -> None:
        for branch in [branch for branch in self.branches if branch.sequence == place]:
            self.drop(branch)

    def _copy(self, source: Branch, branch: Branch, length: int) -> None:
        branch.tokens = source.tokens[:length]
        branch.logits = source.logits if length == len(source.tokens) else None
        self.context.copy(source.sequence, branch.sequence, 0, length)

    def run(self, steps: Sequence[Step]) -> bool:
        for step in steps:
            if len(step.branch.tokens) + len(step.tokens) > self.size:
                raise ContextError(f"a text exceeds its {self.size} cached tokens", hint="use a larger --ctx")
        done = self.context.run(self._rows(steps))
        for step in steps:
            self._use(step.branch)
            step.branch.logits = None
            step.branch.tokens += step.tokens
        if not done:  # llama.cpp may have done part of it
            for step in steps:
                self.trim(step.branch, len(step.branch.tokens) - len(step.tokens))
        return done

    def pass_order(self, branches: Sequence[Branch]) -> list[int]:
        """Moves the last branches into places that are empty between others."""
        taken = {branch.sequence for branch in branches}
        for hole in range(len(branches)) if len(branches) > 1 else ():
            if hole not in taken:
                branch = max(branches, key=lambda branch: branch.sequence)
                self._vacate(hole)
                old, branch.sequence = branch.sequence, hole
                self.context.copy(old, hole, 0, len(branch.tokens))
                self.context.remove(old)
        return sorted(range(len(branches)), key=lambda index: branches[index].sequence)

    def trim(self, branch: Branch, length: int) -> None:
        if length >= len(branch.tokens):
            return
        del branch.tokens[length:]
        branch.logits = None
        self.context.remove(branch.sequence, length)

    def forget(self, cells: int) -> None:
        """Does nothing: here idle branches only cost their place."""

    def make_room(self, cells: int) -> None:
        """Does nothing: each branch has all the cells it may use, and `run` refuses more."""

    def _sequence(self, kept: Branch | None) -> int:
        taken = {branch.sequence: branch for branch in self.branches}
        for number in self._ids:
            if number not in taken:
                return number
        idle = [taken[number] for number in self._ids if not taken[number].holders and taken[number] is not kept]
        if not idle:
            raise CgcliError(f"cannot read more than {_SPARE} texts at once")
        return self._drop_oldest(idle).sequence
