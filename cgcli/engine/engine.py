"""The engine: a model, its cache, and all that is asked of it together.

It continues bytes and scores them; it does not know what a prompt or a program is.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

from cgcli.core.errors import ContextError, UsageError
from cgcli.core.progress import Progress, Silent
from cgcli.engine import state
from cgcli.engine.apart import Apart
from cgcli.engine.aside import aside
from cgcli.engine.binding import without_tiles
from cgcli.engine.cache import Cache
from cgcli.engine.draft_model import DraftModel, ModelDrafter
from cgcli.engine.drafting import PassCosts, by_ngrams
from cgcli.engine.healing import split_blanks
from cgcli.engine.llama import Model, readable
from cgcli.engine.reader import Reader
from cgcli.engine.request import Completion, Request, Timings, TokenScore
from cgcli.engine.scheduler import MakeDrafter, Scheduler, Stream
from cgcli.engine.threads import thread_count
from cgcli.engine.vocabulary import Vocabulary
from cgcli.engine.writer import Writer
from cgcli.native.interrupt import Interrupt
from cgcli.native.logprob import details
from cgcli.native.sample import Sampler


class Engine:
    """A loaded model that completes text. Close it, or use it as a context manager.

    window: tokens that a context and its completion may have together.
    """

    def __init__(
        self,
        path: Path,
        *,
        interrupt: Interrupt,
        ctx: int | None = None,
        threads: int | None = None,
        gpu_layers: int | None = None,
        draft: Path | None = None,
        speculate: bool = True,
        exact: bool = False,
        apart: bool = False,
        sequences: int = 16,
        costs: PassCosts | None = None,
    ) -> None:
        """ctx: a window other than the one the model was trained on; sequences: streams that are drawn together.

        speculate: guess tokens ahead, from the text itself or by a smaller model in the file `draft`; costs: what wider
        passes cost this model here. exact: a text depends on its context and draws alone, not on what is drawn beside
        it, nor on guesses, nor on what the cache held (on the CPU). apart: texts that are drawn together have caches of
        their own: faster where they are many, and more memory (see `apart`; with neither `exact` nor `draft`).
        Raises ModelFileError, UsageError, CgcliError.
        """
        started = time.perf_counter()
        self.timings = Timings()
        self.threads = threads or thread_count()
        if exact:
            if gpu_layers:
                raise UsageError(f"--exact holds on the CPU, not with --gpu-layers {gpu_layers}", hint="--gpu-layers 0")
            gpu_layers = 0
            without_tiles()
        self.sequences = sequences
        self.model = Model.load(path, gpu_layers=gpu_layers, cancelled=lambda: interrupt.requested)
        self.window = ctx or self.model.n_ctx_train
        self.vocabulary = Vocabulary(self.model)
        self.exact = exact
        abort = interrupt.callback_address
        self.cache = (
            Apart(self.model, threads=self.threads, abort=abort, sequences=sequences)
            if apart and not exact and not draft and not self.model.recurrent
            else Cache(self.model, threads=self.threads, exact=exact, abort=abort, sequences=2 * sequences + 32)
        )
        self._reader = Reader(self.cache, interrupt, self.timings)
        try:
            self._guesser = (
                DraftModel(draft, self.cache, interrupt=interrupt, threads=self.threads)
                if draft and speculate
                else None
            )
        except BaseException:
            self.model.close()
            raise
        costs = costs or PassCosts.usual(self.model.header.quant)
        self.scheduler = Scheduler(
            self.cache,
            self._reader,
            Sampler(self.model.n_vocab),
            interrupt,
            self.timings,
            sequences=sequences,
            costs=costs.padded(self.model.header.quant) if exact else costs,
            make_drafter=self._drafting() if speculate and not self.model.recurrent else None,
        )
        self.timings.load_s = time.perf_counter() - started

    def _drafting(self) -> MakeDrafter:
        return functools.partial(ModelDrafter, self._guesser) if self._guesser else by_ngrams

    def submit(self, request: Request, *, priority: int = 0) -> Stream:
        """Put a request into the queue. Raises ContextError where its context leaves no room for a token."""
        tokens = self._tokens(split_blanks(request.context, line_ends=request.goes_on)[0])
        room = min(request.max_tokens, self.window - len(tokens))
        return self.scheduler.submit(request, tokens, Writer(request, self.vocabulary, room), priority=priority)

    def stream(self, request: Request) -> Generator[str, None, Completion]:
        """Draw one completion; yields its text as soon as it is certain, returns the whole of it.

        Ctrl-C ends it early, with what was drawn. Raises ContextError where the context leaves no room for a token.
        """
        stream = self.submit(request)
        try:
            while stream.completion is None:
                self.scheduler.step()
                if text := stream.take():
                    yield text
        finally:
            stream.cancel()
            self.scheduler.sweep()
        return stream.completion

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion]]:
        """Draw many completions together; yields each, with its index in `requests`, when it is done.

        Ctrl-C ends those that are not, early. Raises ContextError as `submit`, before anything is drawn; and where
        memory has no room for one of them, which ends the others as interrupted.
        """
        going: dict[int, Stream] = {}
        try:
            for index, request in enumerate(requests):
                going[index] = self.submit(request)
            while going:
                self.scheduler.step()
                for index, stream in list(going.items()):
                    if stream.completion:
                        del going[index]
                        yield index, stream.completion
        finally:
            for stream in going.values():
                stream.cancel()
            self.scheduler.sweep()

    def score(self, text: bytes, start: int) -> list[TokenScore]:
        """How the model takes the tokens of a context that reach beyond byte `start`: see `surprise`.

        The blanks at its end, which a completion says again, are left out. The cache then holds what `stream` needs.
        """
        return self.surprise(split_blanks(text)[0], start)

    def surprise(
        self, text: bytes, start: int = 0, *, stride: int | None = None, progress: Progress | None = None
    ) -> list[TokenScore]:
        """How the model takes the tokens of `text` that reach beyond byte `start`, each given all before it.

        A text's very first token, which nothing predicts, is not scored. A text longer than the window is read in
        windows, each beginning `stride` tokens after the last (1 to window - 1); a token then is given window - stride
        tokens at least. Raises ContextError where it is longer and there is no stride.
        """
        tokens = self._tokens(text, room=0) if stride is None else self.vocabulary.tokens(text)
        start = len(readable(text[:start]))
        end, first = 0, len(tokens)
        for index, token in enumerate(tokens):
            end += len(self.model.piece(token))
            if end > start:
                first = max(index, 1)
                break
        begins = range(0, max(1, len(tokens) - self.window + (stride or 1)), stride or 1)
        scores: list[TokenScore] = []
        with (progress or Silent()).task("windows scored", len(begins), unit="steps") as task:
            for begin in begins:
                part = tokens[begin : begin + self.window]
                if begin + len(part) > first:
                    scores += self._scored(part, first - begin)
                    first = begin + len(part)
                task.advance(1)
        return scores

    def _scored(self, tokens: list[int], first: int) -> list[TokenScore]:
        """The tokens from index `first` (1 at least), each given those before it."""
        scores: list[TokenScore] = []

        def gather(address: int, predicted: Sequence[int]) -> None:
            wanted = [tokens[index] for index in predicted]
            for token, found in zip(wanted, details(address, self.model.n_vocab, wanted), strict=True):
                piece = self.model.piece(token)
                scores.append(TokenScore(token, piece, found.logprob, found.rank, found.entropy))

        self.reserve(len(tokens))
        self.cache.release(self._reader.read(tokens, score_from=first, gather=gather))
        return scores

    def aside(self, begun: bytes) -> AbstractContextManager[None]:
        """While the block runs, what is scored is forgotten again, so that no later text depends on it.

        begun: how later contexts begin; what is read of that may stay, where it makes no difference.
        """
        return aside(self.cache, self.vocabulary.tokens(begun) if begun else [])

    def save_state(self, text: bytes, path: Path, *, model: str) -> bool:
        """Keep what the cache knows of the beginning of `text` in a file; False where that is not worth it.

        model: sha256 of the GGUF file. Raises CgcliError where the disk says no.
        """
        source, shared = self.cache.longest(self.vocabulary.tokens(text))
        if source is None or shared < state.WORTH or self.model.recurrent:
            return False
        branch = self.cache.fork(source, shared)
        try:
            state.save(self.cache, branch, path, model)
        finally:
            self.cache.release(branch)
            self.cache.drop(branch)
        return True

    def load_state(self, path: Path, *, model: str) -> int:
        """Have the cache know again what a file kept; returns for how many tokens.

        Raises CgcliError where the file is damaged, or of another model, version or way of decoding (`exact`).
        """
        known = state.load(path, model, exact=self.exact)
        tokens = len(known.tokens)
        if tokens >= self.window:
            return 0
        self.reserve(tokens)
        if self.cache.left([]) < tokens + self.cache.PADDING:
            return 0
        self.cache.make_room(tokens + self.cache.PADDING)
        self.cache.release(self.cache.adopt(known.tokens, known.data))
        return tokens

    def reserve(self, cells: int, *, texts: int = 1) -> None:
        """Make room for so many tokens of contexts and completions, of so many texts in all, before they come.

        The cache starts small, since clearing 8,192 cells takes as long as loading a small model; one that must grow
        later is empty again. Raises ContextError where a whole window does not fit into memory.
        """
        cells = self.cache.share(cells, texts)
        least = min(cells, self.window) + self.cache.PADDING
        if not self.cache.held:
            self.cache.reserve(max(cells + self.cache.PADDING, least), least=least)

    def count(self, text: bytes) -> int:
        """Tokens that `text` takes of the window. Raises ContextError for one that cannot fit."""
        return len(self._tokens(text, room=None))

    def check(self, context: bytes) -> None:
        """Raises ContextError, as `submit` would, where a context leaves no room for a token."""
        self._tokens(split_blanks(context)[0])

    def close(self) -> None:
        if self._guesser:
            self._guesser.close()
        self.cache.close()
        self.model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _tokens(self, text: bytes, *, room: int | None = 1) -> list[int]:
        """The ids of a context. Raises ContextError where the window has no room for so many more.

        A text so long that no tokens could hold it is not even tokenized, also where `room` is None.
        """
        if self.vocabulary.exceeds(text, self.window):
            raise self._too_long(f"{len(text)} bytes")
        tokens = self.vocabulary.tokens(text)
        if room is not None and len(tokens) + room > self.window:
            raise self._too_long(f"{len(tokens)} tokens")
        return tokens

    def _too_long(self, size: str) -> ContextError:
        smaller = self.window < self.model.n_ctx_train
        return ContextError(
            f"the program and prompt are {size}, the window has {self.window} tokens",
            hint=f"a larger --ctx, up to {self.model.n_ctx_train}" if smaller else "give a shorter program",
        )


def perplexity(logprobs: Sequence[float]) -> float | None:
    """exp of minus the mean log-probability; None where nothing was scored."""
    return math.exp(-sum(logprobs) / len(logprobs)) if logprobs else None
