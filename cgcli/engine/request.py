"""Requests to the engine and its results: plain values, without llama.cpp."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from cgcli.core.errors import UsageError
from cgcli.engine.stops import Cutter
from cgcli.native.sample import Alternatives, Sampling

FinishReason = Literal["stop", "length", "context", "interrupted"]
"""stop: end of text, a stop string or the truncation rules · length: max_tokens · context: the window is full ·
interrupted: Ctrl-C."""

InfillKind = Literal["codegen2", "fim", ""]
"""How a model reads the text behind a hole. codegen2: with CodeGen2's mask tokens · fim: with FIM tokens · "": it does
not, since it was not trained for it."""


@dataclass(frozen=True)
class FirstLine:
    """How the first line of a completion is drawn, where another line stood there and is to be avoided.

    It ends with the first line end after a drawn character that is not white space.
    """

    sampling: Sampling
    avoid: frozenset[int] = frozenset()  # tokens that may not begin it, after white space or at once


@dataclass(frozen=True)
class Request:
    """A completion to draw. Raises UsageError for a max_tokens below 1."""

    context: bytes
    sampling: Sampling  # its seed, with turn and candidate, selects the random numbers
    cutter: Callable[[], Cutter]  # makes the rule that ends the text
    max_tokens: int = 256
    turn: int = 0
    candidate: int = 0
    continues_code: bool = False  # the context is unfinished code; the completion repeats its last line ends (healing)
    #: Index of its first draw. A request that goes on with a candidate counts on from that one's draws, since seed,
    #: turn, candidate and index select the random number of a draw.
    first_draw: int = 0
    first_line: FirstLine | None = None  # None: drawn like the other lines
    alternatives: int = 0  # how many of the most probable tokens each `DrawnToken` tells, at most the vocabulary
    #: The text behind a hole, for an engine that knows infilling: the completion fills the hole behind `context`. None:
    #: nothing follows.
    suffix: bytes | None = None
    owner: str = ""  # whose text it is; what was read of texts of others is not used
    #: Byte of the context from which on its tokens are scored, as by `Engine.score`; None scores nothing.
    score_from: int | None = None

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise UsageError(f"max-tokens must be 1 or more, but is {self.max_tokens}")


@dataclass(frozen=True, slots=True)
class DrawnToken:
    """A token of a completion."""

    token: int
    #: Characters drawn up to here, before any cut: those that the cutter has seen. Neither the bytes that healing
    #: repeats nor those of an incomplete character count.
    end: int
    logprob: float  # in nats, at temperature 1 over the whole vocabulary
    alternatives: Alternatives = ()  # as many as the request asked for


@dataclass(frozen=True)
class Completion:
    """A finished completion."""

    text: str
    tokens: int  # drawn, including the one that ended it
    mean_logprob: float | None  # in nats, at temperature 1 over the whole vocabulary; None without tokens
    finish_reason: FinishReason
    candidate: int = 0
    trace: tuple[DrawnToken, ...] = ()  # every token, also those whose text was cut


@dataclass(frozen=True, slots=True)
class TokenScore:
    """The model's prediction of a token, given all tokens before it."""

    token: int
    piece: bytes  # may be part of a character
    logprob: float  # in nats, at temperature 1 over the whole vocabulary
    rank: int  # how many tokens were more likely; 0 is the first choice
    entropy: float  # of the distribution, in nats
    alternatives: Alternatives = ()  # if they were asked for


@dataclass
class Timings:
    """Seconds and tokens spent so far, including loading. Mutable, one per engine."""

    load_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    prefill_tokens: int = 0
    decode_tokens: int = 0  # drawn
    streams: int = 0  # completions begun; the prefill gave their first tokens
    passes: int = 0  # decoding passes, for any number of streams
    drafted: int = 0  # guessed tokens
    kept: int = 0  # guessed tokens that were accepted
    plain_passes: int = 0  # passes for one stream without guesses
    plain_s: float = 0.0
    single_tokens: int = 0  # drawn in passes for one stream
    single_s: float = 0.0

    def passed(self, seconds: float, streams: int, guesses: int, drawn: int) -> None:
        """Record a decoding pass, including its draws."""
        self.passes += 1
        self.decode_s += seconds
        if streams == 1:
            self.single_tokens += drawn
            self.single_s += seconds
            if not guesses:
                self.plain_passes += 1
                self.plain_s += seconds

    @property
    def tokens_per_s(self) -> float:
        """Decoding speed in tokens/s, without the tokens that prefill gave; 0 before the first pass."""
        return (self.decode_tokens - self.streams) / self.decode_s if self.decode_s else 0.0

    @property
    def acceptance(self) -> float | None:
        """Share of guessed tokens that were accepted; None without guesses."""
        return self.kept / self.drafted if self.drafted else None

    @property
    def speedup(self) -> float | None:
        """Speed of single streams relative to passes without guesses in the same run; None without such passes."""
        if not (self.plain_passes and self.single_s):
            return None
        return self.single_tokens / self.single_s * self.plain_s / self.plain_passes


def perplexity(logprobs: Sequence[float]) -> float | None:
    """exp of the negative mean log-probability, infinity if that is too large; None without log-probabilities."""
    if not logprobs:
        return None
    try:
        return math.exp(-sum(logprobs) / len(logprobs))
    except OverflowError:
        return math.inf
