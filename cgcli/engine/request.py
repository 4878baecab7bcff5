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
    """One completion of `context`. (turn, candidate) select its stream of draws under `sampling.seed`.

    cutter: makes the automaton that ends the text; max_tokens: tokens drawn at most. Raises UsageError for none.
    goes_on: the context is unfinished code, so the line ends it ends in are left to the first tokens drawn, too (see
    healing.py).
    """

    context: bytes
    sampling: Sampling
    cutter: Callable[[], Cutter]
    max_tokens: int = 256
    turn: int = 0
    candidate: int = 0
    goes_on: bool = False

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise UsageError(f"max-tokens is {self.max_tokens}, must be 1 or more", hint="cgcli gen --help")


@dataclass(frozen=True)
class Completion:
    """A finished completion. tokens: how many were drawn, the one that ended it included.

    mean_logprob: their mean log-probability under the model itself (temperature 1, whole vocabulary), in nats;
    None where no token was drawn.
    """

    text: str
    tokens: int
    mean_logprob: float | None
    finish_reason: FinishReason
    candidate: int = 0


@dataclass(frozen=True, slots=True)
class TokenScore:
    """How the model takes a token of a text, given all before it.

    piece: its bytes, which may be a part of a character; logprob: in nats, at temperature 1 over the whole vocabulary;
    rank: how many tokens it thought likelier, 0 for its first choice; entropy: of its distribution there, in nats.
    """

    token: int
    piece: bytes
    logprob: float
    rank: int
    entropy: float


@dataclass
class Timings:
    """Seconds and tokens spent so far, load included; mutable, one an engine.

    decode_tokens: tokens drawn; streams: completions begun, whose first tokens came with the prefill; drafted and kept:
    tokens guessed, and those of them that came true; passes: decoding passes, however many streams they served;
    single_…: of passes for one stream; plain_…: of those without guesses.
    """

    load_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    prefill_tokens: int = 0
    decode_tokens: int = 0
    streams: int = 0
    passes: int = 0
    drafted: int = 0
    kept: int = 0
    plain_passes: int = 0
    plain_s: float = 0.0
    single_tokens: int = 0
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
