"""A completion while it is drawn: its tokens, and its text as far as the cutter has let it pass."""

from __future__ import annotations

from cgcli.engine.request import Completion, DrawnToken, FinishReason, Request
from cgcli.native.sample import Alternatives


class PartialCompletion:
    """One completion while it is drawn."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.completion: Completion | None = None  # once it has ended
        self.fresh = False  # whether tokens were drawn since the last `take`
        self.trace: list[DrawnToken] = []  # the tokens drawn so far
        self.cutter = request.cutter()
        self._seen = 0  # characters that the cutter has seen
        self._text: list[str] = []
        self._new: list[str] = []

    @property
    def text(self) -> str:
        """The text that is final so far."""
        return "".join(self._text)

    @property
    def drawn(self) -> int:
        """Tokens drawn so far."""
        return len(self.trace)

    def add(self, token: int, logprob: float, text: str | None, alternatives: Alternatives = ()) -> None:
        """Take the next token, and the characters that are complete with it; None for a token that ends a text."""
        self.fresh = True
        self._seen += len(text or "")
        self.trace.append(DrawnToken(token, self._seen, logprob, alternatives))
        if text is None:
            self.end("stop")
            return
        self._say(self.cutter.feed(text))
        if self.cutter.finished:
            self.end("stop")

    def end(self, reason: FinishReason) -> None:
        """End the completion. Bytes of an incomplete character are dropped."""
        if self.completion:
            return
        if not self.cutter.finished:
            self._say(self.cutter.finish())
        mean = sum(one.logprob for one in self.trace) / self.drawn if self.trace else None
        self.completion = Completion(self.text, self.drawn, mean, reason, self.request.candidate, tuple(self.trace))

    def take(self) -> str:
        """The text that became final since the last call."""
        new = "".join(self._new)
        self._new.clear()
        self.fresh = False
        return new

    def _say(self, text: str) -> None:
        if text:
            self._text.append(text)
            self._new.append(text)
