"""A session: a program that grows, and the engine that writes it.

Whoever shows it (a shell line, a REPL, an evaluation) iterates over a turn's pieces of text and adds the turn that
comes back. Completions that truncation leaves empty are drawn again as the next candidate.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Literal

from cgcli.core.progress import Progress, Silent
from cgcli.engine.engine import Engine, perplexity
from cgcli.engine.request import Completion, FinishReason, Request
from cgcli.engine.stops import Chain, Cutter, Stops
from cgcli.native.sample import Sampling
from cgcli.program.program import Program, encode
from cgcli.program.trim import TrailingSpace
from cgcli.program.truncate import NONE, Rules, Truncator
from cgcli.program.turn import Turn

_MORE = 4  # tokens: blanks between turns, and what a pass may need beside a completion


@dataclass(frozen=True)
class Generation:
    """How a turn is drawn. candidates: how many to draw and choose from; redraws: further tries where all are empty."""

    sampling: Sampling
    max_tokens: int = 256
    rules: Rules = NONE
    stops: tuple[str, ...] = ()
    candidates: int = 1
    redraws: int = 3

    def cutter(self, context: bytes) -> Cutter:
        """A new automaton for the truncation rules and the stop strings; the earliest cut ends a completion.

        The rules take the first character of a completion for the start of a line. One that goes on inside a line of
        `context` is made to look so by a character before it, which matches no rule and is not part of the text.
        """
        truncator = Truncator(self.rules)
        if context and not context.endswith(b"\n"):
            truncator.feed("\0")
        return Chain(truncator, Stops(self.stops))


@dataclass(frozen=True)
class Candidate:
    """One completion of a turn; text as it will stand in the program.

    usable: whether it can be a turn (a tidy program takes none that is only white space); finish_reason: the engine's,
    or `empty` where the end left nothing usable.
    """

    completion: Completion
    text: str
    usable: bool

    @property
    def finish_reason(self) -> FinishReason | Literal["empty"]:
        reason = self.completion.finish_reason
        return reason if self.usable or reason == "interrupted" else "empty"


@dataclass(frozen=True)
class Result:
    """A turn with the facts of how it came about. accepted: its index in `candidates`; None where all came out empty.

    prompt_tokens: tokens that the prompt adds to the context; prompt_perplexity: over those that something predicts.
    """

    turn: Turn
    prompt_tokens: int
    prompt_perplexity: float | None
    candidates: tuple[Candidate, ...]
    accepted: int | None

    @property
    def interrupted(self) -> bool:
        return any(candidate.finish_reason == "interrupted" for candidate in self.candidates)


class Session:
    """`program` is the text so far; how many turns it has selects the draws of the next one."""

    def __init__(
        self, engine: Engine, program: Program, generation: Generation, *, progress: Progress | None = None
    ) -> None:
        """progress: of candidates that are drawn together, of which nothing is seen before they are done."""
        self.engine = engine
        self.program = program
        self.generation = generation
        self._progress = progress or Silent()

    def reserve(self, prompts: Sequence[str | None]) -> None:
        """Make room in the cache for these turns, so that it need not grow on the way."""
        text = self.program.source() + "".join(self.program.comment(prompt) for prompt in prompts if prompt is not None)
        self.engine.reserve(self.engine.count(encode(text)) + self._room(len(prompts)))

    def _room(self, turns: int) -> int:
        """Tokens that the completions of so many turns may take."""
        at_once = min(self.generation.candidates, self.engine.sequences)
        return (turns - 1 + at_once) * (self.generation.max_tokens + _MORE)

    def add(self, prompt: str | None) -> Generator[str, None, Result]:
        """Draw the completion of `prompt`, yield its text as it becomes certain, append the turn to the program.

        Nothing is appended where every candidate is empty. Raises ContextError where the program fills the window.
        """
        before = encode(self.program.source())
        context = before + encode(self.program.opening(prompt))
        tokens = self.engine.count(context) - (self.engine.count(before) if before else 0)
        self.engine.reserve(self.engine.count(context) + self._room(1))
        # Always, also where nobody asked: what a pass reads decides its last bits, so looking must not change the text.
        ppl = None if prompt is None else perplexity(self.engine.score(context, len(before)))
        candidates, accepted = yield from (self._first if self.generation.candidates == 1 else self._best)(context)
        turn = Turn(prompt, candidates[accepted].text if accepted is not None else "")
        if accepted is not None:
            self.program = self.program.add(turn)
        return Result(turn, tokens, ppl, tuple(candidates), accepted)

    def _first(self, context: bytes) -> Generator[str, None, Drawn]:
        """The first candidate that is not empty, streamed."""
        drawn: list[Candidate] = []
        for index in range(1 + self.generation.redraws):
            candidate = yield from self._draw(context, index)
            drawn.append(candidate)
            if candidate.usable:
                return drawn, index
            if candidate.finish_reason == "interrupted":
                break
        return drawn, None

    def _best(self, context: bytes) -> Generator[str, None, Drawn]:
        """All candidates, drawn together, then the text of the one with the highest mean log-probability."""
        wanted = self.generation.candidates
        requests = [self._request(context, index) for index in range(wanted)]
        found: dict[int, Completion] = {}
        with self._progress.task("candidates", wanted, unit="steps") as task:
            for index, completion in self.engine.complete(requests):
                found[index] = completion
                task.advance(1)
        drawn = [self._candidate(found[index]) for index in range(wanted)]
        for index in range(wanted, wanted + self.generation.redraws):
            if any(candidate.usable or candidate.finish_reason == "interrupted" for candidate in drawn):
                break
            drawn.append(_exhaust(self._draw(context, index)))
        full = [index for index, candidate in enumerate(drawn) if candidate.usable]
        if not full:
            return drawn, None
        best = max(full, key=lambda index: _rank(drawn[index]))
        yield drawn[best].text
        return drawn, best

    def _draw(self, context: bytes, index: int) -> Generator[str, None, Candidate]:
        space = TrailingSpace() if self.program.layout.tidy else None
        pieces = self.engine.stream(self._request(context, index))
        while True:
            try:
                piece = next(pieces)
            except StopIteration as stop:
                return self._candidate(stop.value)
            if said := space.feed(piece) if space else piece:
                yield said

    def _request(self, context: bytes, index: int) -> Request:
        how = self.generation
        cutter = functools.partial(how.cutter, context)
        return Request(context, how.sampling, cutter, how.max_tokens, len(self.program.turns), index)

    def _candidate(self, completion: Completion) -> Candidate:
        if not self.program.layout.tidy:
            return Candidate(completion, completion.text, usable=True)
        text = completion.text.rstrip()
        return Candidate(completion, text, usable=bool(text))


Drawn = tuple[list[Candidate], int | None]


def _rank(candidate: Candidate) -> tuple[bool, float]:
    """What was interrupted comes after all that was not; then the mean log-probability counts."""
    mean = candidate.completion.mean_logprob
    return candidate.finish_reason != "interrupted", -math.inf if mean is None else mean


def _exhaust(pieces: Generator[str, None, Candidate]) -> Candidate:
    while True:
        try:
            next(pieces)
        except StopIteration as stop:
            candidate: Candidate = stop.value
            return candidate
