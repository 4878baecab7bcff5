"""A stand-in for the engine: says what it is told to, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

from cgcli.engine.request import Completion, FinishReason, Request


class ScriptedEngine:
    """Each request gets the next text of the script, in pieces of `width` characters, cut as the request says."""

    def __init__(self, texts: Sequence[str], *, width: int = 3, interrupt_after: int | None = None) -> None:
        self.texts = list(texts)
        self.requests: list[Request] = []
        self.width = width
        self.interrupt_after = interrupt_after

    sequences = 16

    def reserve(self, cells: int) -> None:
        pass

    def stream(self, request: Request) -> Generator[str, None, Completion]:
        self.requests.append(request)
        text = self.texts.pop(0)
        cutter = request.cutter()
        said, reason = [], "length"
        for number, at in enumerate(range(0, len(text), self.width)):
            if number == self.interrupt_after:
                reason = "interrupted"
                break
            said.append(cutter.feed(text[at : at + self.width]))
            yield said[-1]
            if cutter.finished:
                reason = "stop"
                break
        if not cutter.finished:
            said.append(cutter.finish())
            yield said[-1]
        finish: FinishReason = reason  # type: ignore[assignment]
        return Completion("".join(said), len(said), -0.5 * len(self.requests), finish, request.candidate)

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[int, Completion]]:
        """One after the other; once one is interrupted, so are all after it."""
        interrupted = False
        for index, request in enumerate(requests):
            pieces = self.stream(request)
            while not interrupted:
                try:
                    next(pieces)
                except StopIteration as stop:
                    yield index, stop.value
                    interrupted = stop.value.finish_reason == "interrupted"
                    break
            else:
                yield index, Completion("", 0, None, "interrupted", request.candidate)

    def score(self, text: bytes, start: int) -> list[float]:
        return [-1.0] * (len(text) - start)

    def count(self, text: bytes) -> int:
        return len(text)
