"""Fills a hole: draws candidates, and chooses one.

A model that was trained to infill reads the text on both sides. Any other continues the text before the hole, and its
candidates are cut where they begin to repeat what follows. Of blocks, the one is chosen with which the text behind the
hole becomes most probable, p(after | before + block). Of lines, the one that is most probable together with that text,
p(line + after | before), which finds more of them (tests/benchmarks/fill.py). Of blocks, the shortest would win so.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal

from cgcli.core.progress import Progress, Silent
from cgcli.engine.protocol import Engine
from cgcli.engine.request import Completion, FinishReason, InfillKind, Request, TokenScore
from cgcli.engine.stops import Chain, Cutter
from cgcli.program.generation import Generation
from cgcli.program.hole import Hole, HoleEnd, only_comments, tidied
from cgcli.program.source import encode, lines_of

FillKind = Literal["codegen2", "fim", "reranked"]
"""codegen2, fim: the model read the text on both sides, see `engine.request.InfillKind` · reranked: it read the text
before the hole, and the text behind chose among the candidates."""

Score = Callable[[Sequence[bytes], Sequence[int]], list[list[TokenScore]]]
"""Scores texts, each from a byte on."""

CANDIDATES = 8
"""Drawn by default where they are reranked."""

_SCORED = 32  # tokens of the text behind a hole that choose among candidates
_MARKS = 8  # tokens around the texts, at most
_LONGEST_TOKEN = 16  # characters; a text that has more for each token of the window is cut before it is tokenized


@dataclass(frozen=True)
class FillCandidate:
    """What may go into a hole."""

    text: str  # indented as the hole; its first line without the indentation
    tokens: int  # drawn, including those that were cut
    finish_reason: FinishReason
    draw: int  # selects its random numbers under the seed
    logprob: float | None = None  # of its text, in nats
    suffix_logprob: float | None = None  # of the text behind the hole after it, in nats; None if that was not scored


@dataclass(frozen=True)
class Filling:
    """The candidates for a hole."""

    kind: FillKind
    candidates: tuple[FillCandidate, ...]
    ranking: tuple[int, ...]  # indices of the candidates that are not empty, the best first
    unread: int  # characters of the two texts that the model did not read, since the window has no room for them

    @property
    def accepted(self) -> int | None:
        """The index of the best candidate; None if all are empty."""
        return next(iter(self.ranking), None)

    @property
    def text(self) -> str:
        """What goes into the hole; "" if all candidates are empty."""
        return "" if self.accepted is None else self.candidates[self.accepted].text

    @property
    def interrupted(self) -> bool:
        return any(one.finish_reason == "interrupted" for one in self.candidates)


class HolePlan:
    """How a hole is filled: what the model reads, the requests to draw, and the choice among what they give."""

    def __init__(
        self,
        hole: Hole,
        how: Generation,
        kind: InfillKind,
        window: int,
        tokens: Callable[[bytes], list[int]],
        turn: int = 0,
        beginning: str = "",
    ) -> None:
        """how: with the number of candidates; kind: of the engine; tokens: tokenizes a text; turn: selects the random
        numbers under the seed; beginning: read by a model that does not infill, where nothing is before the hole.

        The text before the hole is kept from its end, and the text behind it from its start, as far as they fit.
        """
        self.hole = hole
        self.kind: FillKind = kind or "reranked"
        self._max_tokens = max(1, min(how.max_tokens, window // 2))
        room = max(2, window - self._max_tokens - _MARKS)
        least = min(room // 4, room if kind else _SCORED)  # for the text behind
        before, after = hole.before[-room * _LONGEST_TOKEN :], hole.after[: room * _LONGEST_TOKEN]

        def count(text: str) -> int:
            return len(tokens(encode(text))) if text else 0

        spare = room - count(before) if kind else 0
        self.after = first_tokens(after, max(least, spare), count)
        self.before = last_tokens(before, room - count(self.after), count)
        self.unread = len(hole.before) - len(self.before) + (len(hole.after) - len(self.after) if kind else 0)
        if not kind and not hole.before.strip():
            self.before = beginning + hole.head
        self._how = how
        self._turn = turn

    @property
    def requests(self) -> list[Request]:
        """One for each candidate."""
        how = self._how
        request = Request(
            encode(self.before),
            how.sampling,
            self._cutter,
            self._max_tokens,
            self._turn,
            continues_code=True,
            suffix=None if self.kind == "reranked" else encode(self.after),
        )
        other = replace(how.sampling, temperature=how.others) if how.others else how.sampling
        return [
            replace(request, candidate=index, sampling=other if index else how.sampling)
            for index in range(how.candidates)
        ]

    def _cutter(self) -> Cutter:
        return Chain(HoleEnd(self.hole), self._how.cutter(encode(self.before)))

    def choose(self, drawn: Sequence[Completion], score: Score | None) -> Filling:
        """Choose among completions of the requests. Raises what `score` raises.

        score: scores texts, as `Engine.surprise_all`; None takes the first completion that is not empty.
        """
        texts = [tidied(self.hole, one.text) for one in drawn]
        scores: dict[str, tuple[float, float]] = {}
        distinct = [text for text in dict.fromkeys(texts) if text.strip()]
        if score and self.kind == "reranked" and self.after.strip():
            scores = dict(zip(distinct, self._scores(score, distinct), strict=True))
        candidates = []
        for text, one in zip(texts, drawn, strict=True):
            own = None if one.mean_logprob is None else one.mean_logprob * one.tokens
            logprob, behind = scores.get(text, (own, None))
            candidates.append(FillCandidate(text, one.tokens, one.finish_reason, one.candidate, logprob, behind))
        usable = [index for index, one in enumerate(candidates) if one.text.strip()]
        if score:
            usable.sort(key=lambda index: self._worth(candidates[index]), reverse=True)
        usable.sort(key=lambda index: only_comments(self.hole, texts[index]))
        return Filling(self.kind, tuple(candidates), tuple(usable), self.unread)

    def _worth(self, candidate: FillCandidate) -> float:
        """The greatest is chosen."""
        own = -math.inf if candidate.logprob is None else candidate.logprob
        if candidate.suffix_logprob is None:
            return own
        return candidate.suffix_logprob + (own if self.hole.extent == "line" else 0)

    def _scores(self, score: Score, texts: Sequence[str]) -> list[tuple[float, float]]:
        """Log-probabilities of each text, and of what follows it, in nats."""
        before, after = encode(self.before), encode(self.after)
        results = []
        for tokens in score([before + encode(text) + after for text in texts], [len(before)] * len(texts)):
            left = sum(len(token.piece) for token in tokens) - len(after)  # bytes before what follows
            own = behind = 0.0
            for token in tokens:
                left -= len(token.piece)
                if left >= 0:
                    own += token.logprob
                else:
                    behind += token.logprob
            results.append((own, behind))
        return results


def fill(
    engine: Engine,
    hole: Hole,
    how: Generation,
    *,
    turn: int = 0,
    beginning: str = "",
    progress: Progress | None = None,
) -> Filling:
    """Fill a hole. turn, beginning: as in `HolePlan`.

    Ctrl-C ends the candidates as interrupted. Raises ContextError, and Interrupted while scoring.
    """
    plan = HolePlan(hole, how, engine.infill, engine.window, engine.tokens, turn, beginning)
    requests = plan.requests
    done: dict[int, Completion] = {}
    with (progress or Silent()).task("candidates", len(requests), unit="steps") as task:
        for index, one in engine.complete(requests):
            done[index] = one
            task.advance(one.finish_reason != "interrupted")
    with engine.scratch(requests[0].context):
        return plan.choose([done[index] for index in sorted(done)], engine.surprise_all)


def first_tokens(text: str, most: int, count: Callable[[str], int]) -> str:
    """The beginning of a text, with at most `most` tokens: whole lines if one fits."""
    return _longest(most, count, text, [*accumulate(map(len, lines_of(text)))], lambda at: text[:at])


def last_tokens(text: str, most: int, count: Callable[[str], int]) -> str:
    """The end of a text, with at most `most` tokens: whole lines if one fits."""
    lines = [*accumulate(map(len, reversed(lines_of(text))))]
    return _longest(most, count, text, lines, lambda size: text[len(text) - size :])


def _longest(
    most: int, count: Callable[[str], int], text: str, sizes: Sequence[int], part: Callable[[int], str]
) -> str:
    """The longest part with at most `most` tokens, of one of the sizes, else of any."""
    if count(text) <= most:
        return text
    for choices in (sizes, range(1, len(text))):
        fitting = bisect_right(choices, most, key=lambda size: count(part(size)))
        if fitting:
            return part(choices[fitting - 1])
    return ""
