"""The engine: a model, its cache and a scheduler for many requests at once.

It continues and scores bytes; it does not know what a prompt or a program is.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cgcli.core.errors import ContextError, UsageError
from cgcli.core.machine import thread_count
from cgcli.core.progress import Progress, Silent
from cgcli.engine import protocol, state
from cgcli.engine.binding import gpu_devices
from cgcli.engine.cache import KVCache
from cgcli.engine.completing import Completing
from cgcli.engine.draft_model import DraftModel, ModelDrafter
from cgcli.engine.drafting import PassCosts, by_ngrams
from cgcli.engine.kept_ngrams import DraftText, kept_ngrams
from cgcli.engine.model import Loading, begin_loading, readable
from cgcli.engine.prefill import Prefill
from cgcli.engine.request import InfillKind, Request, Timings, TokenScore
from cgcli.engine.scheduler import MakeDrafter, ScheduledStream, Scheduler
from cgcli.engine.separate_cache import SeparateCache
from cgcli.engine.shared_cache import SharedCache
from cgcli.engine.state_memory import StateMemory
from cgcli.engine.tokens import Detokenizer, TokenTable, split_blanks
from cgcli.native.draft import KeptNgrams
from cgcli.native.interrupt import Interrupt
from cgcli.native.library import tier
from cgcli.native.products import product_tier
from cgcli.native.sample import Sampler, score_tokens, top_tokens

_SEQUENCES, _SEQUENCES_ON_GPU = 16, 64


@dataclass(frozen=True)
class EngineOptions:
    """How a `LlamaEngine` runs its model."""

    ctx: int | None = None  # context window in tokens; None for the one that the model was trained with
    threads: int | None = None  # None for the number of physical cores
    gpu_layers: int | None = None  # None for all that fit
    draft: Path | None = None  # a smaller model that guesses tokens
    speculate: bool = True  # guess tokens ahead, with `draft` or from the text itself
    exact: bool = False  # a text does not depend on what is drawn at the same time (CPU only)
    own_products: bool = True  # multiply with our own kernels, where they run
    #: Many long texts will be drawn together. Each has its own cache then, unless our attention runs or that cannot be:
    #: llama.cpp's takes time for the cells of all texts.
    many: bool = False
    sequences: int | None = None  # streams that are drawn together; None for 16, or 64 with all layers on a GPU
    costs: PassCosts | None = None  # of wider passes on this machine; None for the usual ones


class LlamaEngine(Completing):
    """An `engine.protocol.Engine` on llama.cpp, in this process. Close it or use it as a context manager."""

    def __init__(
        self,
        path: Path,
        options: EngineOptions | None = None,
        *,
        interrupt: Interrupt,
        cancelled: Callable[[], bool] | None = None,
        loading: Loading | None = None,
    ) -> None:
        """Load the model in `path`, or wait for one that is loading with the same options.

        cancelled: stops loading, instead of `interrupt`. Raises ModelFileError, UsageError, CgcliError.
        """
        options = options or EngineOptions()
        exact, draft = options.exact, options.draft
        self.timings = Timings()
        self.threads = options.threads or thread_count()
        self.exact = exact
        cancelled = cancelled or (lambda: interrupt.requested)
        loading = loading or begin_loading(
            path, gpu_layers=options.gpu_layers, exact=exact, own_products=options.own_products
        )
        with ExitStack() as opened:
            self.model = loading.wait(cancelled)
            opened.callback(self.model.close)
            self.sequences = options.sequences or (_SEQUENCES_ON_GPU if self.model.wholly_on_gpu else _SEQUENCES)
            self.window = options.ctx or self.model.n_ctx_train
            self.token_table = TokenTable(self.model)
            self.cache = self._make_cache(interrupt, many=options.many, drafted=draft is not None)
            opened.callback(self.cache.close)
            self._prefill = Prefill(self.cache, interrupt, self.timings)
            self._guesser: DraftModel | None = None
            self._kept: KeptNgrams | None = None  # of other texts
            if draft and options.speculate:
                self._guesser = DraftModel(
                    draft, self.cache, interrupt=interrupt, cancelled=cancelled, threads=self.threads
                )
                opened.callback(self._guesser.close)
            products = product_tier() if self.model.own_products else None
            costs = options.costs or PassCosts.usual(self.quant, tier=products)
            self.scheduler = Scheduler(
                self.cache,
                self._prefill,
                Sampler(self.model.n_vocab),
                interrupt,
                self.timings,
                sequences=self.sequences,
                costs=costs.padded(self.model.padded) if exact else costs,
                make_drafter=self._drafting() if options.speculate and not self.model.recurrent else None,
            )
            self._opened = opened.pop_all()
        self.timings.load_s = time.perf_counter() - loading.started

    def _make_cache(self, interrupt: Interrupt, *, many: bool, drafted: bool) -> KVCache:
        abort = interrupt.callback_address
        if self.exact and self.model.recurrent:  # exact passes are padded, and a recurrent state takes no token back
            raise UsageError("--exact does not work with a recurrent model", hint="leave out --exact")
        if many and not (self.model.own_attention or self.exact or drafted or self.model.recurrent):
            return SeparateCache(self.model, threads=self.threads, abort=abort, sequences=self.sequences)
        sequences = 2 * self.sequences + 32
        return SharedCache(self.model, threads=self.threads, exact=self.exact, abort=abort, sequences=sequences)

    def _drafting(self) -> MakeDrafter:
        if self._guesser:
            return functools.partial(ModelDrafter, self._guesser)
        return lambda tokens, request: by_ngrams(tokens, request, self._kept, window=self.window)

    def guess_from(self, texts: Sequence[DraftText], file: Path, *, model: str) -> None:
        """Guess also from other texts in all requests from now on; their n-grams are kept in `file`.

        model: names the vocabulary.
        """
        self._kept = kept_ngrams(texts, file, model, self.token_table.tokens)

    @property
    def quant(self) -> str:
        return self.model.header.quant

    @functools.cached_property
    def placement(self) -> protocol.Placement:
        model = self.model
        return protocol.Placement(
            threads=self.threads,
            layers=model.n_layer + 1,
            gpu_layers=model.gpu_layers,
            gpu=", ".join(name for name, _, _ in gpu_devices()) if model.gpu_layers else "",
            products=f"libcgk_ggml ({product_tier()})" if model.own_kernels else "llama.cpp",
            sampler="libcgk_cuda" if model.gpu_sampling else f"libcgk ({tier()})",
        )

    @property
    def infill(self) -> InfillKind:
        return self.token_table.infill.kind if self.token_table.infill else ""

    # Drawing

    def read_tokens(self, request: Request) -> list[int]:
        """The ids of a request's context, without what the completion repeats. Raises like `submit`; any thread may."""
        if request.suffix is not None:
            return self._fitting(self.token_table.around(request.context, request.suffix))
        return self._tokens(split_blanks(request.context, line_ends=request.continues_code)[0])

    def submit(self, request: Request, *, first: bool = False) -> ScheduledStream:
        tokens = self.read_tokens(request)
        text = Detokenizer(request, self.token_table, min(request.max_tokens, self.window - len(tokens)))
        if request.score_from is None:
            return self.scheduler.submit(request, tokens, text, first=first)
        score_from = self._first_beyond(request.context[: request.score_from], tokens)

        def gather(address: int, predicted: Sequence[int]) -> None:
            stream.scores += self._scores(address, [tokens[index] for index in predicted])

        stream = self.scheduler.submit(request, tokens, text, first=first, score_from=score_from, gather=gather)
        return stream

    def wait(self, streams: Iterable[protocol.Stream]) -> list[protocol.Stream]:
        streams = list(streams)
        while not (done := [stream for stream in streams if stream.completion]):
            self.scheduler.step()
            if any(stream.fresh for stream in streams):
                return [stream for stream in streams if stream.completion]
        return done

    def cancel(self, streams: Iterable[protocol.Stream]) -> None:
        for stream in streams:
            if isinstance(stream, ScheduledStream):
                stream.cancel()
        self.scheduler.sweep()

    # Scoring

    def score(self, text: bytes, start: int, *, progress: Progress | None = None) -> list[TokenScore]:
        return self.surprise(split_blanks(text)[0], start, reading=progress)

    def surprise(
        self,
        text: bytes,
        start: int = 0,
        *,
        stride: int | None = None,
        progress: Progress | None = None,
        reading: Progress | None = None,
        owner: str = "",
        alternatives: int = 0,
    ) -> list[TokenScore]:
        tokens = self._tokens(text, room=0) if stride is None else self.token_table.tokens(text)
        first = self._first_beyond(text[:start], tokens)
        begins = range(0, max(1, len(tokens) - self.window + (stride or 1)), stride or 1)
        scores: list[TokenScore] = []
        with (progress or Silent()).task("windows scored", len(begins), unit="steps") as task:
            for begin in begins:
                part = tokens[begin : begin + self.window]
                if begin + len(part) > first:
                    scores += self._scored(part, first - begin, reading, owner, alternatives)
                    first = begin + len(part)
                task.advance(1)
        return scores

    def surprise_all(self, texts: Sequence[bytes], starts: Sequence[int], *, owner: str = "") -> list[list[TokenScore]]:
        contexts = [self._tokens(text, room=0) for text in texts]
        pairs = zip(texts, starts, contexts, strict=True)
        firsts = [self._first_beyond(text[:start], tokens) for text, start, tokens in pairs]
        scores: list[list[TokenScore]] = [[] for _ in texts]

        def gather(index: int, address: int, predicted: Sequence[int]) -> None:
            scores[index] += self._scores(address, [contexts[index][at] for at in predicted])

        self.reserve(max(map(len, contexts), default=0) + self.cache.context.n_batch)
        self._prefill.score(contexts, firsts, gather, owner)
        return scores

    def _first_beyond(self, begun: bytes, tokens: Sequence[int]) -> int:
        """The index, at least 1, of the first token that extends beyond the beginning of a text."""
        end, start = 0, len(readable(begun))
        for index, token in enumerate(tokens):
            end += len(self.model.piece(token))
            if end > start:
                return max(index, 1)
        return len(tokens)

    def _scored(
        self, tokens: list[int], first: int, reading: Progress | None, owner: str, alternatives: int
    ) -> list[TokenScore]:
        """Scores of the tokens from index `first` (at least 1), each given those before it."""
        scores: list[TokenScore] = []

        def gather(address: int, predicted: Sequence[int]) -> None:
            scores.extend(self._scores(address, [tokens[index] for index in predicted], alternatives))

        self.reserve(len(tokens))
        self.cache.release(self._prefill.read(tokens, score_from=first, gather=gather, progress=reading, owner=owner))
        return scores

    def _scores(self, address: int, tokens: Sequence[int], alternatives: int = 0) -> list[TokenScore]:
        """Scores of tokens, each by a row of logits: float32 [len(tokens), n_vocab] at `address`."""
        n_vocab = self.model.n_vocab
        found = score_tokens(address, n_vocab, tokens)
        tops = [top_tokens(address + 4 * n_vocab * row, n_vocab, alternatives) for row in range(len(tokens))]
        return [
            TokenScore(token, self.model.piece(token), one.logprob, one.rank, one.entropy, top)
            for token, one, top in zip(tokens, found, tops, strict=True)
        ]

    def scratch(self, begun: bytes) -> AbstractContextManager[None]:
        return self.cache.scratch(self.token_table.tokens(begun) if begun else [])

    def save_state(self, text: bytes, path: Path, *, model: str, seconds: float = math.inf) -> bool:
        """Save the cached state of the beginning of `text` to a file; False if that is not worth it.

        model: sha256 of the GGUF file. seconds: how long it may take. Raises CgcliError if writing fails.
        """
        source, shared = self.cache.longest(self.token_table.tokens(text))
        if source is None or shared < state.WORTH or self.model.recurrent:
            return False
        branch = self.cache.fork(source, shared)
        try:
            return state.save_state(self.cache, branch, path, model, seconds=seconds)
        finally:
            self.cache.release(branch)
            self.cache.drop(branch)

    def load_state(self, path: Path, *, model: str) -> int:
        """Load a saved state into the cache; returns its number of tokens, 0 if there is no room.

        Raises CgcliError if the file is damaged, or was saved by another model, version or mode (`exact`).
        """
        known = state.load_state(path, model, exact=self.exact, own_attention=self.model.own_attention)
        tokens = len(known.tokens)
        if tokens >= self.window:
            return 0
        self.reserve(tokens)
        if self.cache.left([]) < tokens + self.cache.spare_cells:
            return 0
        self.cache.make_room(tokens + self.cache.spare_cells)
        self.cache.release(self.cache.adopt(known.tokens, known.data))
        return tokens

    def remember(self, size: int) -> None:
        """From now on, keep what a shared cache evicts, in at most so many bytes, so that it need not be read again."""
        if isinstance(self.cache, SharedCache):
            self.cache.memory = StateMemory(size)

    def reserve(self, cells: int, *, texts: int = 1) -> None:
        # The cache starts small, since clearing 8,192 cells takes as long as loading a small model. Growing empties it.
        cells = self.cache.cells_for(min(cells, self.cache.sequences * self.window), texts)
        least = min(cells, self.window) + self.cache.spare_cells
        if not self.cache.held:
            self.cache.reserve(max(cells + self.cache.spare_cells, least), least=least)

    def tokens(self, text: bytes) -> list[int]:
        return self.token_table.tokens(text)

    def count(self, text: bytes) -> int:
        return len(self._tokens(text, room=None))

    def check(self, context: bytes) -> None:
        self._tokens(split_blanks(context)[0])

    def close(self) -> None:
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _tokens(self, text: bytes, *, room: int | None = 1) -> list[int]:
        """The ids of a context. Raises ContextError if the window has no room for `room` more tokens.

        A text that is too long for any tokens is not even tokenized, also if `room` is None.
        """
        if self.token_table.exceeds(text, self.window):
            raise self._too_long(f"{len(text)} bytes")
        tokens = self.token_table.tokens(text)
        return tokens if room is None else self._fitting(tokens, room)

    def _fitting(self, tokens: list[int], room: int = 1) -> list[int]:
        """The ids. Raises ContextError if the window has no room for `room` more."""
        if len(tokens) + room > self.window:
            raise self._too_long(f"{len(tokens)} tokens")
        return tokens

    def _too_long(self, size: str) -> ContextError:
        smaller = self.window < self.model.n_ctx_train
        return ContextError(
            f"the program and prompt take {size}, but the window has {self.window} tokens",
            hint=f"use a larger --ctx, up to {self.model.n_ctx_train}" if smaller else "use a shorter program",
        )
