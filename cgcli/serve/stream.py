"""A stream that a server draws: its text is cut here, and it can move to an engine of this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cgcli.core.errors import CgcliError
from cgcli.engine import protocol
from cgcli.engine.partial import PartialCompletion
from cgcli.engine.request import Completion, DrawnToken, FinishReason, Request, TokenScore
from cgcli.engine.stops import Cutter
from cgcli.serve import wire
from cgcli.serve.wire import Message


class RemoteStream:
    """A submitted request. It moves if its server stops."""

    def __init__(self, number: int, request: Request, scores: Sequence[TokenScore] = ()) -> None:
        """scores: of the request's context."""
        self.number = number
        self.scores = scores
        self.error: CgcliError | None = None  # what ended it
        self.moved: protocol.Stream | None = None  # what draws the rest, after a move
        self._request = request
        self._partial = PartialCompletion(request)
        self._drawn = ""  # all characters, before any cut
        self._redrawn = False  # whether `moved` begins at the beginning

    @property
    def completion(self) -> Completion | None:
        if self.moved is None or self._partial.completion:
            return self._partial.completion
        rest = self.moved.completion
        return rest and self._joined(rest)

    @property
    def trace(self) -> Sequence[DrawnToken]:
        """The tokens drawn so far, before a move."""
        return self._partial.trace

    @property
    def fresh(self) -> bool:
        return self._partial.fresh or bool(self.moved and self.moved.fresh)

    def take(self) -> str:
        return self._partial.take() + (self.moved.take() if self.moved else "")

    def end(self, reason: FinishReason) -> None:
        """End it with the text drawn so far. One that has moved ends where it is drawn."""
        if self.moved is None:
            self._partial.end(reason)

    def take_news(self, message: Message) -> bool:
        """Take what the server tells; returns whether it has ended the stream there."""
        tokens, text, end = message.get("tokens", ()), message.get("text", ""), message.get("end")
        alternatives = message.get("alternatives") or [()] * len(tokens)
        for index, (token, logprob, size) in enumerate(tokens, 1):
            said, text = text[:size], text[size:]
            self._drawn += said
            # The server cuts nothing, so only a token that ends a text stops it.
            last = end == "stop" and index == len(tokens)
            self._partial.add(token, logprob, None if last else said, alternatives[index - 1])
            if self._partial.completion:
                break
        if end:
            self._partial.end(end)
        if "error" in message:
            self.error = wire.error_in(message["error"])
        return bool(end or self.error)

    def move(self, engine: protocol.Engine, *, first: bool = False) -> None:
        """Let another engine draw the rest; an exact one draws all of it again, to the same bits."""
        of, drawn = self._request, self._partial.drawn
        self._redrawn = engine.exact and drawn > 0
        rest = (
            replace(of, cutter=self._cutter)
            if self._redrawn
            else replace(
                of,
                context=of.context + wire.bytes_in(self._drawn),
                cutter=self._cutter if drawn else of.cutter,
                max_tokens=of.max_tokens - drawn,
                continues_code=of.continues_code or drawn > 0,
                first_draw=of.first_draw + drawn,
                first_line=None if drawn else of.first_line,
            )
        )
        self.moved = engine.submit(rest, first=first)

    def _cutter(self) -> Cutter:
        return _Rest(self._partial.cutter, len(self._drawn) if self._redrawn else 0)

    def _joined(self, rest: Completion) -> Completion:
        """What both engines have drawn."""
        so_far = self._partial
        if self._redrawn:
            return replace(rest, text=so_far.text + rest.text)
        before = so_far.trace[-1].end if so_far.trace else 0
        trace = (*so_far.trace, *(replace(one, end=one.end + before) for one in rest.trace))
        mean = sum(one.logprob for one in trace) / len(trace) if trace else None
        return replace(rest, text=so_far.text + rest.text, tokens=len(trace), mean_logprob=mean, trace=trace)


class _Rest:
    """A cutter in use, for a text whose first characters it has seen already."""

    def __init__(self, cutter: Cutter, seen: int) -> None:
        self._cutter = cutter
        self._seen = seen

    @property
    def finished(self) -> bool:
        return self._cutter.finished

    def feed(self, text: str) -> str:
        new, self._seen = text[self._seen :], max(0, self._seen - len(text))
        return self._cutter.feed(new)

    def finish(self) -> str:
        return self._cutter.finish()
