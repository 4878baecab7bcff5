"""Turns drawn tokens into text: end of text, healing, characters that span tokens, and the cut of a completion."""

from __future__ import annotations

import codecs

from cgcli.engine.healing import Healing, split_blanks
from cgcli.engine.request import Completion, FinishReason, Request
from cgcli.engine.token_table import TokenTable
from cgcli.native.sample import Mask, Sampled


class Detokenizer:
    """One completion while it is drawn. room: tokens that the request and the window allow."""

    def __init__(self, request: Request, table: TokenTable, room: int) -> None:
        self.request = request
        self.drawn = 0
        self.completion: Completion | None = None
        self._room = room
        self._table = table
        self._cutter = request.cutter()
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        _, owed = split_blanks(request.context, line_ends=request.continues_code)
        self._healing = Healing(owed) if owed else None
        self._logprob = 0.0
        self._text: list[str] = []
        self._new: list[str] = []

    @property
    def mask(self) -> Mask:
        """uint8 [n_vocab], nonzero for tokens that may not come next."""
        return self._table.mask(self._healing.owed if self._healing else b"")

    @property
    def free(self) -> bool:
        """Whether the next token may be any, so that later ones can be drawn before it is known."""
        return not (self._healing and self._healing.owed)

    @property
    def left(self) -> int:
        """Tokens that may still be drawn."""
        return self._room - self.drawn

    def accept(self, sampled: Sampled) -> bool:
        """Take the next token; returns whether another one is needed."""
        self.drawn += 1
        self._logprob += sampled.logprob
        if sampled.token in self._table.ends:
            self.end("stop")
            return False
        piece = self._table.piece(sampled.token)
        said = self._healing.accept(piece) if self._healing else piece
        self._say(self._cutter.feed(self._utf8.decode(said)))
        if self._cutter.finished:
            self.end("stop")
        elif not self.left:
            self.end("length" if self._room == self.request.max_tokens else "context")
        return self.completion is None

    def end(self, reason: FinishReason) -> None:
        """End the completion. Bytes of an incomplete character are dropped."""
        if self.completion:
            return
        if not self._cutter.finished:
            self._say(self._cutter.finish())
        mean = self._logprob / self.drawn if self.drawn else None
        self.completion = Completion("".join(self._text), self.drawn, mean, reason, self.request.candidate)

    @property
    def fresh(self) -> bool:
        """Whether `take` has new text."""
        return bool(self._new)

    def take(self) -> str:
        """The text that became final since the last call."""
        new = "".join(self._new)
        self._new.clear()
        return new

    def _say(self, text: str) -> None:
        if text:
            self._text.append(text)
            self._new.append(text)
