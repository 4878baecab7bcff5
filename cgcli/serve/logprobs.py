"""OpenAI's `logprobs`: the tokens of a text, their log-probabilities and places, and the alternatives to each."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

from cgcli.engine.model import Model
from cgcli.engine.request import DrawnToken, TokenScore
from cgcli.native.sample import Alternatives


class Logprobs:
    """The tokens of a choice, first those of an echoed prompt."""

    def __init__(self, model: Model, most: int) -> None:
        """most: alternatives to each token; the token itself is told beside them."""
        self._model = model
        self._most = most
        self._tokens: list[str] = []
        self._values: list[float | None] = []
        self._tops: list[dict[str, float] | None] = []
        self._offsets: list[int] = []

    @property
    def body(self) -> dict[str, Any]:
        return {
            "tokens": self._tokens,
            "token_logprobs": self._values,
            "top_logprobs": self._tops if self._most else None,
            "text_offset": self._offsets,
        }

    def copy(self) -> Logprobs:
        other = Logprobs(self._model, self._most)
        other._tokens, other._values = [*self._tokens], [*self._values]
        other._tops, other._offsets = [*self._tops], [*self._offsets]
        return other

    def add_prompt(self, tokens: Sequence[int], scores: Sequence[TokenScore]) -> None:
        """Add all tokens of a prompt. scores: of all but the first one, which nothing predicts."""
        decoder, characters = codecs.getincrementaldecoder("utf-8")("replace"), 0
        for token, score in zip(tokens, [None, *scores], strict=False):
            self._add(token, score.logprob if score else None, score.alternatives if score else (), characters)
            characters += len(decoder.decode(self._model.piece(token)))

    def add_drawn(self, trace: Sequence[DrawnToken], *, begin: int = 0, offset: int = 0) -> None:
        """Add the tokens of a completion from index `begin` on. offset: characters before the completion."""
        ends = [0, *(one.end for one in trace)]
        for one, end in zip(trace[begin:], ends[begin:], strict=False):
            self._add(one.token, one.logprob, one.alternatives, offset + end)

    def _add(self, token: int, logprob: float | None, alternatives: Alternatives, offset: int) -> None:
        text = self._text(token)
        self._tokens.append(text)
        self._values.append(logprob)
        self._offsets.append(offset)
        if logprob is None:
            self._tops.append(None)
        else:
            self._tops.append({self._text(other): value for other, value in alternatives} | {text: logprob})

    def _text(self, token: int) -> str:
        """As OpenAI writes it: `bytes:\\xe2\\x80` is part of a character."""
        piece = self._model.piece(token)
        try:
            return piece.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)
