"""What is asked of the engine, and what comes back: plain values, no llama.cpp."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from cgcli.core.errors import UsageError
from cgcli.engine.stops import Cutter
from cgcli.native.sample import Sampling

FinishReason = Literal["stop", "length", "context", "interrupted"]
"""stop: end of text, a stop string or the truncation rules · length: max_tokens · context: the window is full ·
interrupted: Ctrl-C."""


@dataclass(frozen=True)
class Request:
    """One completion of a context. Raises UsageError where it asks for no token."""

    context: bytes
    sampling: Sampling  # its seed, with turn and candidate, selects the stream of draws
    cutter: Callable[[], Cutter]  # makes the automaton that ends the text
    max_tokens: int = 256
    turn: int = 0
    candidate: int = 0
    continues_code: bool = False  # unfinished code: line ends at its end are left to the first tokens, see healing.py

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise UsageError(f"max-tokens must be 1 or more, but is {self.max_tokens}", hint="cgcli gen --help")


@dataclass(frozen=True)
class Completion:
    """A finished completion."""

    text: str
    tokens: int  # drawn, the one that ended it included
    mean_logprob: float | None  # in nats, of the model itself (temperature 1, whole vocabulary); None without tokens
    finish_reason: FinishReason
    candidate: int = 0


@dataclass(frozen=True, slots=True)
class TokenScore:
    """How the model takes a token of a text, given all before it."""

    token: int
    piece: bytes  # which may be a part of a character
    logprob: float  # in nats, at temperature 1 over the whole vocabulary
    rank: int  # how many tokens the model found more likely; 0 is its first choice
    entropy: float  # of the distribution there, in nats


@dataclass
class Timings:
    """Seconds and tokens spent so far, load included; mutable, one per engine."""

    load_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    prefill_tokens: int = 0
    decode_tokens: int = 0  # drawn
    streams: int = 0  # completions begun, whose first tokens came with the prefill
    passes: int = 0  # of decoding, however many streams they served
    drafted: int = 0  # tokens guessed
    kept: int = 0  # guessed tokens that came true
    plain_passes: int = 0  # passes for one stream, without guesses
    plain_s: float = 0.0
    single_tokens: int = 0  # drawn in passes for one stream
    single_s: float = 0.0

    def passed(self, seconds: float, streams: int, guesses: int, drawn: int) -> None:
        """Note a decoding pass, the draws after it included."""
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
        """Tokens drawn by passes a second of decoding; 0 before the first."""
        return (self.decode_tokens - self.streams) / self.decode_s if self.decode_s else 0.0

    @property
    def acceptance(self) -> float | None:
        """The share of guessed tokens that came true; None where none was guessed."""
        return self.kept / self.drafted if self.drafted else None

    @property
    def speedup(self) -> float | None:
        """Tokens a second of single streams, against passes without guesses in the same run; None without such."""
        if not (self.plain_passes and self.single_s):
            return None
        return self.single_tokens / self.single_s * self.plain_s / self.plain_passes
