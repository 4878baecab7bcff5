"""A scripted engine: returns given texts and records the requests."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

from cgcli.core.errors import ContextError
from cgcli.core.progress import Progress
from cgcli.engine.protocol import Follow
from cgcli.engine.request import Completion, DrawnToken, FinishReason, Request, Timings, TokenScore
from tests.support.draining import drain


class ScriptedEngine:
    """Each request gets the next text of the script, in pieces of `width` characters, cut as the request says.

    A token is a byte of a context, and a piece of a text: its id is its first character. One more, `END`, ends a text
    that is not cut. `timings` counts what was scored as read.
    """

    def __init__(
        self,
        texts: Sequence[str],
        *,
        width: int = 3,
        interrupt_after: int | None = None,
        window: int = 100_000,
        end: FinishReason = "length",
    ) -> None:
        self.texts = list(texts)
        self.last = ""  # the text of the last request
        self.end = end  # why a text of the script ends
        self.requests: list[Request] = []
        self.width = width
        self.interrupt_after = interrupt_after
        self.window = window
        self.timings = Timings()
        self.asides: list[bytes] = []
        self.reviewed: list[bytes] = []  # texts of `surprise`
        self.likes: dict[bytes, float] = {}
        self.open = 0  # streams that were begun and not ended

    END = 256
    sequences = 16
    quant = "q8_0"

    def reserve(self, cells: int) -> None:
        pass

    def check(self, context: bytes) -> None:
        if len(context) >= self.window:
            raise ContextError(f"the program and prompt are {len(context)} tokens, the window has {self.window} tokens")

    def stream(self, request: Request) -> Generator[str, None, Completion]:
        self.requests.append(request)
        text = self.last = self.texts.pop(0)
        self.open += 1
        try:
            return (yield from self._said(request, text))
        finally:
            self.open -= 1

    def _said(self, request: Request, text: str) -> Generator[str, None, Completion]:
        cutter = request.cutter()
        said, reason = [], self.end
        logprob, trace = -0.5 * len(self.requests), []
        for number, at in enumerate(range(0, len(text), self.width)):
            if number == self.interrupt_after:
                reason = "interrupted"
                break
            piece = text[at : at + self.width]
            trace.append(DrawnToken(ord(piece[0]), at + len(piece), logprob))
            said.append(cutter.feed(piece))
            yield said[-1]
            if cutter.finished:
                reason = "stop"
                break
        if not cutter.finished:
            trace.append(DrawnToken(self.END, trace[-1].end if trace else 0, logprob))
            said.append(cutter.finish())
            yield said[-1]
        return Completion("".join(said), len(said), logprob, reason, request.candidate, tuple(trace))

    def complete(self, requests: Iterable[Request], follow: Follow | None = None) -> Iterator[tuple[int, Completion]]:
        """One after the other; once one is interrupted, so are all after it."""
        interrupted = False
        for index, request in enumerate(requests):
            done = Completion("", 0, None, "interrupted", request.candidate)
            following: Request | None = request
            while following:
                if not interrupted:
                    done = drain(self.stream(following))[1]
                interrupted = done.finish_reason == "interrupted"
                following = follow(index, done) if follow else None
                following = None if interrupted else following
            yield index, done

    def score(self, text: bytes, start: int, *, progress: Progress | None = None) -> list[TokenScore]:
        """Every byte has a log-probability of -1."""
        self.check(text)
        self.timings.prefill_tokens += len(text) - start
        return [TokenScore(byte, bytes([byte]), -1.0, 0, 1.0) for byte in text[start:]]

    def surprise(
        self, text: bytes, start: int = 0, *, stride: int | None = None, progress: Progress | None = None
    ) -> list[TokenScore]:
        """Every byte has the log-probability that `likes` has for a part of the text, or -1."""
        self.reviewed.append(text)
        self.check(text)
        logprob = next((value for part, value in self.likes.items() if part in text), -1.0)
        return [TokenScore(byte, bytes([byte]), logprob, 0, 1.0) for byte in text[start:]]

    def scratch(self, begun: bytes) -> AbstractContextManager[None]:
        self.asides.append(begun)
        return nullcontext()

    def tokens(self, text: bytes) -> list[int]:
        return list(text)

    def surprise_all(self, texts: Sequence[bytes], starts: Sequence[int]) -> list[list[TokenScore]]:
        return [self.surprise(text, start) for text, start in zip(texts, starts, strict=True)]

    def count(self, text: bytes) -> int:
        return len(text)
