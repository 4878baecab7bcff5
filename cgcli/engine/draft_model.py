"""Guesses tokens with a smaller model of the same vocabulary.

It draws with the same random numbers as the model that it guesses for (same seed, turn, candidate and index), so both
draw the same token wherever their distributions nearly agree.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path

from cgcli.core.errors import ContextError, UsageError
from cgcli.engine.cache import Branch, KVCache, Step
from cgcli.engine.drafting import MAX_DRAFT, Prospect, Rate
from cgcli.engine.model import Model
from cgcli.engine.prefill import Prefill
from cgcli.engine.request import Request, Timings
from cgcli.engine.shared_cache import SharedCache
from cgcli.engine.tokens import TokenTable
from cgcli.native.interrupt import Interrupt
from cgcli.native.sample import Sampler

_USUAL = 0.7  # share of guesses that are usually accepted


class DraftModel:
    """The draft model and its cache, for all streams. Close it."""

    def __init__(
        self, path: Path, guessed: KVCache, *, interrupt: Interrupt, cancelled: Callable[[], bool], threads: int
    ) -> None:
        """guessed: the cache of the model that it guesses for; cancelled: polled while loading.

        Raises UsageError if the vocabularies differ, ModelFileError, CgcliError.
        """
        target = guessed.model
        self.model = Model.load(path, gpu_layers=None if target.gpu_layers else 0, cancelled=cancelled)
        if self.model.n_vocab != target.n_vocab or self.model.pieces != target.pieces:
            self.model.close()
            raise UsageError(
                f"{path} cannot draft for {target.path}: their vocabularies differ",
                hint="use --draft ngram, or a smaller model of the same family",
            )
        self.guessed = guessed
        abort, sequences = interrupt.callback_address, guessed.sequences
        self.cache = SharedCache(self.model, threads=threads, abort=abort, sequences=sequences)
        self.prefill = Prefill(self.cache, interrupt, Timings())
        self.sampler = Sampler(self.model.n_vocab)
        self.banned = TokenTable(self.model).banned
        # A pass of few rows takes as long as reading the weights from memory.
        self.cost = path.stat().st_size / target.path.stat().st_size

    def close(self) -> None:
        self.cache.close()
        self.model.close()


class ModelDrafter:
    """Guesses for one stream."""

    def __init__(self, guesser: DraftModel, tokens: Sequence[int], request: Request) -> None:
        self._guesser = guesser
        self._tokens = list(tokens)
        # A stream gets its drafter after its first token.
        self._context = len(tokens) - 1
        self._request = request
        self._rate = Rate(_USUAL)
        self._branch: Branch | None = None
        self._guesses: list[int] = []

    def prospect(self) -> Prospect:
        room = self._guesser.model.n_ctx_train - len(self._tokens) - 1
        chance = self._rate.value
        return Prospect([chance**depth for depth in range(1, min(MAX_DRAFT, room) + 1)], self._guesser.cost)

    def draft(self, count: int) -> list[int]:
        cache = self._guesser.cache
        try:
            branch = self._read()
        except ContextError:  # no memory for the draft cache
            return []
        try:
            if branch.logits is None:
                return []
            guesses = [self._draw(ctypes.addressof(branch.logits), 0)]
            while len(guesses) < count:
                cache.make_room(1)
                if not cache.run([Step(branch, guesses[-1:], [0])]):
                    break
                guesses.append(self._draw(cache.context.logits_address(0), len(guesses)))
        finally:
            cache.release(branch)
        self._guesses = guesses
        return guesses

    def extend(self, tokens: Sequence[int]) -> None:
        for guess, token in zip(self._guesses, tokens, strict=False):
            self._rate.note(guess == token)
            if guess != token:
                break
        if not self._guesses:
            self._rate.fade()
        self._guesses = []
        self._tokens += tokens

    def _read(self) -> Branch:
        """The branch of this stream, extended to its tokens and held. Raises ContextError, Interrupted."""
        cache, prefill = self._guesser.cache, self._guesser.prefill
        cells = len(self._tokens) + MAX_DRAFT + cache.spare_cells
        if cells > cache.size:
            # As many cells as the cache of the model that it guesses for.
            cache.reserve(max(2 * cells, self._guesser.guessed.size), least=cells)
        branch = self._branch
        if branch and branch in cache.branches:
            prefill.extend(branch, self._tokens)
            return branch
        self._branch = prefill.read(self._tokens)
        return self._branch

    def _draw(self, logits: int, ahead: int) -> int:
        request = self._request
        return self._guesser.sampler.sample(
            logits,
            request.sampling,
            turn=request.turn,
            candidate=request.candidate,
            index=request.first_draw + len(self._tokens) - self._context + ahead,
            banned=self._guesser.banned,
        ).token
