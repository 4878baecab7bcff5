"""The engine: a model, its cache, and the loop that draws a completion token by token.

It continues bytes; it does not know what a prompt or a program is. The cache always holds the tokens of the last
context and completion, and a new context costs only what differs from them.
"""

from __future__ import annotations

import codecs
import ctypes
import math
import time
from collections.abc import Callable, Generator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Self

from cgcli.core.errors import ContextError, Interrupted
from cgcli.engine.healing import Healing, split_blanks
from cgcli.engine.llama import Context, Model, readable
from cgcli.engine.request import Completion, FinishReason, Request, Timings, TokenScore
from cgcli.engine.threads import thread_count
from cgcli.native.interrupt import Interrupt
from cgcli.native.logprob import details
from cgcli.native.sample import Sampler

_CELLS_STEP = 1024
_USUAL_PIECE = 16  # bytes; few tokens are longer
_CONTROL, _UNUSED = 3, 5  # of llama.h's enum llama_token_type


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
    ) -> None:
        """ctx: a window other than the one the model was trained on. Raises ModelFileError, UsageError, CgcliError."""
        started = time.perf_counter()
        self.timings = Timings()
        self._interrupt = interrupt
        self.threads = threads or thread_count()
        self.model = Model.load(path, gpu_layers=gpu_layers, cancelled=lambda: interrupt.requested)
        self.window = ctx or self.model.n_ctx_train
        self._context: Context | None = None
        self._cached: list[int] = []
        # The logits after the last context, and its tokens: further candidates of it start from the very same bits.
        self._after: list[int] = []
        self._logits = (ctypes.c_float * self.model.n_vocab)()
        types = self.model.header.token_types
        padding = types.translate(bytes(kind == _UNUSED for kind in range(256)))
        self._banned = (ctypes.c_uint8 * self.model.n_vocab).from_buffer_copy(padding)
        self._sampler = Sampler(self.model.n_vocab)
        # A control token says that the document is over, whichever it is: none of them is text.
        self._ends = {token for token, kind in enumerate(types) if kind == _CONTROL}
        if self.model.end_of_text is not None:
            self._ends.add(self.model.end_of_text)
        self._opening = [self.model.end_of_text or min(self._ends, default=0)]
        self.timings.load_s = time.perf_counter() - started

    def stream(self, request: Request) -> Generator[str, None, Completion]:
        """Draw one completion; yields its text as soon as it is certain, returns the whole of it.

        Ctrl-C ends it early, with what was drawn. Raises ContextError where the context leaves no room for a token.
        """
        head, owed = split_blanks(request.context)
        tokens = self._tokens(head)
        room = min(request.max_tokens, self.window - len(tokens))
        finish: FinishReason = "length" if room == request.max_tokens else "context"
        cutter = request.cutter()
        utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        healing = Healing(owed, self.model.pieces, self._banned) if owed else None
        text: list[str] = []
        total_logprob, drawn = 0.0, 0
        self.reserve(len(tokens) + room)
        try:
            logits = self._prefill(tokens)
            started = time.perf_counter()
            while drawn < room:
                sampled = self._sampler.sample(
                    logits,
                    request.sampling,
                    turn=request.turn,
                    candidate=request.candidate,
                    index=drawn,
                    banned=healing.mask() if healing else self._banned,
                )
                token = sampled.token
                drawn += 1
                total_logprob += sampled.logprob
                if token in self._ends:
                    finish = "stop"
                    break
                piece = self.model.piece(token)
                said = healing.accept(piece) if healing else piece
                certain = cutter.feed(utf8.decode(said))
                self.timings.decode_s += time.perf_counter() - started
                if certain:
                    text.append(certain)
                    yield certain
                started = time.perf_counter()
                if cutter.finished:
                    finish = "stop"
                    break
                if drawn < room:
                    logits = self._decode([token]).logits_address(0)
            self.timings.decode_s += time.perf_counter() - started
        except Interrupted:
            finish = "interrupted"
        self.timings.decode_tokens += drawn
        # Bytes of a character that did not become whole are dropped.
        if rest := "" if cutter.finished else cutter.finish():
            text.append(rest)
            yield rest
        mean = total_logprob / drawn if drawn else None
        return Completion("".join(text), drawn, mean, finish, request.candidate)

    def score(self, text: bytes, start: int) -> list[float]:
        """Log-probabilities in nats of the tokens of a context that reach beyond byte `start`: see `surprise`.

        The blanks at its end, which a completion says again, are left out. The cache then holds what `stream` needs.
        """
        head, _ = split_blanks(text)
        return [score.logprob for score in self.surprise(head, start)]

    def surprise(self, text: bytes, start: int = 0, *, stride: int | None = None) -> list[TokenScore]:
        """How the model takes the tokens of `text` that reach beyond byte `start`, each given all before it.

        A text's very first token, which nothing predicts, is not scored. A text longer than the window is read in
        windows, each beginning `stride` tokens after the last (1 to window - 1); a token then is given window - stride
        tokens at least. Raises ContextError where it is longer and there is no stride.
        """
        tokens = self.model.start + self.model.tokenize(readable(text)) if stride else self._tokens(text, room=False)
        start = len(readable(text[:start]))
        end, first = 0, len(tokens)
        for index, token in enumerate(tokens):
            end += len(self.model.piece(token))
            if end > start:
                first = max(index, 1)
                break
        if len(tokens) > self.window and stride is None:
            raise self._too_long(f"{len(tokens)} tokens")
        scores: list[TokenScore] = []
        begin = done = 0
        while done < len(tokens):
            part = tokens[begin : begin + self.window]
            if begin + len(part) > max(first, done):
                scores += self._scored(part, max(first, done, 1) - begin)
            done = begin + len(part)
            begin += stride or done
        return scores

    def _scored(self, tokens: list[int], first: int) -> list[TokenScore]:
        """The tokens from index `first` (1 at least), each given those before it."""
        scores: list[TokenScore] = []

        def gather(context: Context, at: int, rows: Sequence[int]) -> None:
            wanted = [tokens[at + row + 1] for row in rows]  # the logits of a pass lie one row after the other
            found = details(context.logits_address(rows[0]), self.model.n_vocab, wanted) if wanted else []
            for token, score in zip(wanted, found, strict=True):
                piece = self.model.piece(token)
                scores.append(TokenScore(token, piece, score.logprob, score.rank, score.entropy))

        self._prefill(tokens, score_from=first, gather=gather)
        return scores

    def reserve(self, cells: int) -> None:
        """Make room for a context and completion of so many tokens (of the window at most), before they come.

        The cache starts small, since clearing 8,192 cells takes as long as loading a small model; one that must grow
        later is empty again.
        """
        self._cells(min(cells, self.window))

    def count(self, text: bytes) -> int:
        """Tokens that `text` takes of the window."""
        return len(self._tokens(text, room=False))

    def close(self) -> None:
        if self._context:
            self._context.close()
        self.model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _tokens(self, text: bytes, *, room: bool = True) -> list[int]:
        """The ids of a context; where it is empty the end of another text, since something must predict the first.

        Raises ContextError where there is no room for one more token, or, before it is tokenized, for a text so long
        that no tokens could hold it.
        """
        if len(text) > _USUAL_PIECE * self.window and len(text) > max(map(len, self.model.pieces)) * self.window:
            raise self._too_long(f"{len(text)} bytes")
        tokens = self.model.start + self.model.tokenize(readable(text)) or self._opening
        if room and len(tokens) >= self.window:
            raise self._too_long(f"{len(tokens)} tokens")
        return tokens

    def _too_long(self, size: str) -> ContextError:
        smaller = self.window < self.model.n_ctx_train
        return ContextError(
            f"the program and prompt are {size}, the window has {self.window} tokens",
            hint=f"a larger --ctx, up to {self.model.n_ctx_train}" if smaller else "give a shorter program",
        )

    def _prefill(
        self,
        tokens: list[int],
        *,
        score_from: int | None = None,
        gather: Callable[[Context, int, Sequence[int]], None] | None = None,
    ) -> int:
        """Bring the cache to `tokens`; returns the address of the logits that follow them.

        score_from: index of the first token whose prediction `gather` is to see, as rows of a pass that began at `at`.
        """
        started = time.perf_counter()
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(self._cached, tokens, strict=False)))
        context = self._cells(len(tokens))
        known = self._after == tokens and score_from is None
        keep = min(shared, len(self._cached), len(tokens) if known else len(tokens) - 1)
        if score_from is not None:
            keep = min(keep, max(score_from - 1, 0))
        keep = context.trim(keep)
        del self._cached[keep:]
        for at in range(keep, len(tokens), context.n_batch):
            piece = tokens[at : at + context.n_batch]
            last = len(piece) - 1
            rows = (
                [] if score_from is None else [r for r in range(len(piece)) if score_from <= at + r + 1 < len(tokens)]
            )
            self._decode(piece, outputs=sorted({*rows, last}))
            if gather:
                gather(context, at, rows)
            if at + len(piece) == len(tokens):
                ctypes.memmove(self._logits, context.logits_address(last), ctypes.sizeof(self._logits))
                self._after = tokens
        self.timings.prefill_s += time.perf_counter() - started
        self.timings.prefill_tokens += len(tokens) - keep
        return ctypes.addressof(self._logits)

    def _decode(self, tokens: list[int], *, outputs: list[int] | None = None) -> Context:
        """One pass after what is cached. Raises Interrupted, the cache then as long as what was done."""
        context = self._cells(len(self._cached) + len(tokens))
        if self._interrupt.requested or not context.decode(tokens, at=len(self._cached), outputs=outputs):
            self._cached = (self._cached + tokens)[: context.length]
            del self._cached[context.trim(len(self._cached)) :]
            raise Interrupted
        self._cached += tokens
        return context

    def _cells(self, cells: int) -> Context:
        """The context, with at least so many cells; a new and empty one where it was smaller."""
        if self._context is None or self._context.n_ctx < cells:
            if self._context:
                self._context.close()
            self._cached.clear()
            self._after = []
            size = min(-(-cells // _CELLS_STEP) * _CELLS_STEP, self.window)
            abort = self._interrupt.callback_address
            self._context = Context(self.model, n_ctx=size, threads=self.threads, abort=abort)
        return self._context


def perplexity(logprobs: Sequence[float]) -> float | None:
    """exp of minus the mean log-probability; None where nothing was scored."""
    return math.exp(-sum(logprobs) / len(logprobs)) if logprobs else None
