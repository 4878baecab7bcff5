"""A session: a program that grows, and the engine that writes it.

A turn takes three steps: `plan` builds the context, `read` lets the model read it, and `draw` streams the completion
and returns the turn. `add` does all three; `grow` (grow.py) adds a turn for each of several prompts. A completion that
truncation leaves empty is drawn again as the next candidate.
"""

from __future__ import annotations

import functools
import platform
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from cgcli.core.progress import Progress, Silent
from cgcli.engine.prefix import common_prefix
from cgcli.engine.protocol import Engine
from cgcli.engine.request import Completion, Request, TokenScore, perplexity
from cgcli.program.generation import Generation, TrailingSpace
from cgcli.program.guard import Guard
from cgcli.program.program import Candidate, End, Picked, Program, Setup, Turn, TurnFacts
from cgcli.program.rank import Rank
from cgcli.program.source import digest, encode

if TYPE_CHECKING:
    from cgcli.program.folding import Fold

Piece = TypeVar("Piece")
Result = TypeVar("Result")

_MORE = 4  # tokens: blanks between turns, and what a pass may need besides a completion


Preview = Callable[[str], object]
"""Shows the text drawn behind what was yielded, in place of what it showed last; a guard may still cut it."""


@dataclass(frozen=True)
class Plan:
    """The context of a turn after `program`."""

    program: Program
    prompt: str | None
    keep: str  # completion prefix to continue from
    before: bytes  # the program as the model reads it, folded if necessary
    opening: bytes  # the prompt's part of the context
    fold: Fold | None
    tokens: int  # of the whole context
    window: int  # the model's, in tokens

    @property
    def context(self) -> bytes:
        return self.before + self.opening + encode(self.keep)


@dataclass(frozen=True)
class Reading:
    """A prompt that the model has read, scored."""

    plan: Plan
    prompt_tokens: int  # that the prompt adds to the context
    scores: tuple[TokenScore, ...]  # of the prompt's tokens, except a first token of all; empty without a prompt
    read: int  # tokens that were not cached
    seconds: float

    @property
    def perplexity(self) -> float | None:
        return perplexity([score.logprob for score in self.scores])


Draw = Callable[[Reading], Generator[str, None, Turn]]
"""Draws a turn: yields its text, returns the turn."""


@dataclass(frozen=True)
class Option:
    """A candidate that can become the turn."""

    index: int
    candidate: Candidate
    program: Program  # with the candidate
    rank: Rank  # so far


Prefer = Callable[["Session", Plan, Sequence[Option]], tuple[int, Picked]]
"""Picks one of the candidates of a turn; returns its index, and how it was picked."""


class _Drawn(NamedTuple):
    candidates: list[Candidate]
    accepted: int | None  # index; None if all candidates are empty
    picked: Picked | None = None


class Session:
    """A program and the engine that continues it.

    `program`, `generation` and `prefer` may be replaced at any time; the cache is matched by text. The number of turns
    in the program selects the random numbers of the next one.
    """

    def __init__(
        self,
        engine: Engine,
        program: Program,
        generation: Generation,
        *,
        model: str = "",
        language: str = "python",
        fold: bool = True,
        prefer: Prefer | None = None,
        progress: Progress | None = None,
    ) -> None:
        """model: its name, for the facts. fold: allow folding of a program that is too long, except in a raw layout.

        prefer: picks one of the usable candidates; None: the most probable one. progress: for long contexts, and for
        candidates that are drawn together, which do not stream.
        """
        self.engine = engine
        self.program = program
        self.generation = generation
        self.model = model
        self.language = language
        self.fold = fold
        self.setup: Setup | None = None  # for the facts
        self.start = ""  # what the code of the next added turn begins with
        self.preview: Preview | None = None  # called after each token of a candidate that streams
        self.prefer = prefer
        self._progress = progress or Silent()
        self._known = b""  # the text that the model last read or wrote

    def reserve(self, prompts: Sequence[str | None]) -> None:
        """Make room in the cache for these turns, so that it need not grow meanwhile."""
        text = self.program.source() + "".join(self.program.comment(prompt) for prompt in prompts if prompt is not None)
        tokens = min(self.engine.count(encode(text)), self.engine.window)
        self.engine.reserve(tokens + self._room(len(prompts)))

    def _room(self, turns: int) -> int:
        """Tokens that the completions of `turns` turns may take."""
        at_once = min(self.generation.candidates, self.engine.sequences)
        return (turns - 1 + at_once) * (min(self.generation.max_tokens, self.engine.window) + _MORE)

    def draws_like(self, facts: TurnFacts) -> bool:
        """Whether the session now draws as for these facts: with the same model, seed, sampler and guards."""
        how = self.generation
        now = asdict(how.sampling) | {"model": self.model, "quant": self.engine.quant, "max_tokens": how.max_tokens}
        now["guard"] = self._guard_version
        return all(getattr(facts, name) == value for name, value in now.items())

    @property
    def _guard_version(self) -> str:
        return platform.python_version() if self.generation.guard else ""

    def plan(self, prompt: str | None, keep: str = "") -> Plan:
        """Build the context for `prompt`; the model does not read it yet.

        keep: completion prefix to continue from. Raises ContextError if it does not fit the window, even folded.
        """
        engine, program = self.engine, self.program
        before, opening = encode(program.source()), encode(program.opening(prompt))
        tokens = engine.count(before + opening + encode(keep))
        fold = self._fold(prompt, keep) if tokens > self.limit else None
        if fold:
            before, tokens = encode(fold.text), tokens - fold.saved
        plan = Plan(program, prompt, keep, before, opening, fold, tokens, engine.window)
        engine.check(plan.context)
        return plan

    @property
    def limit(self) -> int:
        """Tokens of a context that leave room for a completion; at least half the window."""
        return self.engine.window - min(self.generation.max_tokens, self.engine.window // 2)

    def _fold(self, prompt: str | None, keep: str) -> Fold | None:
        if not self.fold or self.program.layout.mark is None:
            return None
        from cgcli.program.folding import fold  # 20 ms, for programs that are seldom so long

        count, window = self.engine.count, self.engine.window
        found = fold(self.program, prompt, keep, language=self.language, count=count, limit=self.limit, window=window)
        if not found:
            return None
        text = encode(found.text)
        known = text[: common_prefix(text, self._known)]
        return replace(found, reread=self._count(text) - self._count(known))

    def _count(self, text: bytes) -> int:
        return self.engine.count(text) if text else 0

    @contextmanager
    def scratch(self) -> Iterator[None]:
        """Remove everything that the block reads from the cache, so that it does not affect later turns."""
        known = self._known
        try:
            with self.engine.scratch(encode(self.program.source())):
                yield
        finally:
            self._known = known

    def read(self, plan: Plan) -> Reading:
        """Let the model read the program and the prompt, and score the prompt.

        `keep`, or without a prompt everything, is read by `draw`. Raises ContextError if memory does not suffice, and
        Interrupted.
        """
        engine, begun = self.engine, plan.before + plan.opening
        started, before = time.perf_counter(), engine.timings.prefill_tokens
        tokens = engine.count(begun) - self._count(plan.before)
        engine.reserve(plan.tokens + self._room(1))
        # Scored always, even if nobody needs it: what a pass reads decides its last bits, and thus the text.
        scores = [] if plan.prompt is None else engine.score(begun, len(plan.before), progress=self._progress)
        self._known = begun
        read = engine.timings.prefill_tokens - before
        return Reading(plan, tokens, tuple(scores), read, time.perf_counter() - started)

    def draw(self, reading: Reading, first: int = 0) -> Generator[str, None, Turn]:
        """Draw the candidates `first`, `first` + 1, …; yield the text after `keep` as soon as it is certain.

        With several candidates, yields the text of the chosen one. The program does not change. The turn has no
        accepted candidate if all are empty.
        """
        started, plan = time.perf_counter(), reading.plan
        one = self.generation.candidates == 1
        candidates, accepted, picked = yield from (self._first if one else self._best)(plan, first)
        text = candidates[accepted].text if accepted is not None else ""
        self._known = plan.before + plan.opening + encode(text or plan.keep)
        facts = self._facts(reading, reading.seconds + time.perf_counter() - started)
        return Turn(plan.prompt, text, tuple(candidates), accepted, facts, picked)

    def add(
        self, prompt: str | None, on_plan: Callable[[Plan], None] | None = None, draw: Draw | None = None
    ) -> Generator[str, None, Turn]:
        """Plan, read and draw a turn, and add it to the program unless all candidates are empty.

        on_plan: called with the plan before anything is read. draw: draws in place of `self.draw`. Raises as `plan` and
        `read`.
        """
        start, self.start = self.start, ""
        plan = self.plan(prompt, start)
        if on_plan:
            on_plan(plan)
        turn = replace((yield from (draw or self.draw)(self.read(plan))), start=start)
        if turn.accepted is not None:
            self.program = plan.program.add(turn)
        return turn

    def _facts(self, reading: Reading, seconds: float) -> TurnFacts:
        plan, how = reading.plan, self.generation
        return TurnFacts(
            model=self.model,
            quant=self.engine.quant,
            **asdict(how.sampling),
            max_tokens=how.max_tokens,
            context=digest(plan.program.source() + plan.program.opening(plan.prompt)),
            prompt_tokens=reading.prompt_tokens,
            prompt_perplexity=reading.perplexity,
            folded=plan.fold.saved if plan.fold else 0,
            guard=self._guard_version,
            seconds=seconds,
            stops=how.stops,
            batch=how.candidates,
            others=how.others,
            setup=self.setup,
        )

    def _first(self, plan: Plan, first: int) -> Generator[str, None, _Drawn]:
        """Stream candidates until one is not empty."""
        drawn: list[Candidate] = []
        for index in range(1 + self.generation.redraws):
            candidate = yield from self._draw(plan, first + index)
            drawn.append(candidate)
            if _usable(candidate, plan):
                return _Drawn(drawn, index)
            if candidate.finish_reason == "interrupted":
                break
        return _Drawn(drawn, None)

    def _best(self, plan: Plan, first: int) -> Generator[str, None, _Drawn]:
        """Draw all candidates together, then yield the text of the best one; see `Rank`."""
        wanted = self.generation.candidates
        guards = [self._guard(plan, first + index, other=index > 0) for index in range(wanted)]
        requests = [guard.request for guard in guards]
        with self._progress.task("candidates", wanted, unit="steps") as task:
            for _, last in self.engine.complete(requests, lambda index, completion: guards[index].follow(completion)):
                task.advance(last.finish_reason != "interrupted")
        drawn = [self._candidate(plan, guard) for guard in guards]
        begun = [one for one in drawn if one.tokens or one.finish_reason != "interrupted"]
        drawn = begun or drawn[:1]  # after Ctrl-C some have not begun
        for index in range(wanted, wanted + self.generation.redraws):
            if any(_usable(candidate, plan) or candidate.finish_reason == "interrupted" for candidate in drawn):
                break
            drawn.append(drain(self._draw(plan, first + index, other=True)))
        full = [index for index, candidate in enumerate(drawn) if _usable(candidate, plan)]
        if not full:
            return _Drawn(drawn, None)
        options = [self._option(plan, index, drawn[index]) for index in full]
        best, picked = max(options, key=lambda one: one.rank).index, None
        if self.prefer and not any(candidate.finish_reason == "interrupted" for candidate in drawn):
            best, picked = self.prefer(self, plan, options)
        yield drawn[best].text[len(plan.keep) :]
        return _Drawn(drawn, best, picked)

    def _option(self, plan: Plan, index: int, candidate: Candidate) -> Option:
        rank = Rank.of(candidate, plan.program, plan.prompt, language=self.language)
        return Option(index, candidate, plan.program.add(Turn(plan.prompt, candidate.text)), rank)

    def _draw(self, plan: Plan, draw: int, *, other: bool = False) -> Generator[str, None, Candidate]:
        guard, tidy = self._guard(plan, draw, other=other), plan.program.layout.tidy
        space = TrailingSpace() if tidy else None
        request: Request | None = guard.request
        while request:
            with closing(self.engine.stream(request)) as pieces:
                while True:
                    try:
                        piece = next(pieces)
                    except StopIteration as stop:
                        completion: Completion = stop.value
                        break
                    if said := space.feed(piece) if space else piece:
                        yield said
                    if self.preview:
                        held = (space.held if space else "") + guard.held
                        self.preview(held.rstrip() if tidy else held)
            request = guard.follow(completion)
        rest = guard.rest()
        if said := space.feed(rest) if space else rest:
            yield said
        if self.preview:
            self.preview("")
        return self._candidate(plan, guard)

    def _guard(self, plan: Plan, draw: int, *, other: bool = False) -> Guard:
        """other: not the first candidate of the turn."""
        how, program = self.generation.within(plan.keep), plan.program
        sampling = replace(how.sampling, temperature=how.others) if other and how.others else how.sampling
        cutter = functools.partial(how.cutter, plan.before + plan.opening, plan.keep)
        continues_code = plan.prompt is None or bool(plan.keep)
        return Guard(
            self.engine,
            how,
            Request(plan.context, sampling, cutter, how.max_tokens, len(program.turns), draw, continues_code),
            program.source() + program.opening(plan.prompt),
            keep=plan.keep,
            prompt=plan.prompt,
            python=self.language == "python",
        )

    def _candidate(self, plan: Plan, guard: Guard) -> Candidate:
        completion = guard.completion
        text = plan.keep + completion.text
        text = text.rstrip() if plan.program.layout.tidy else text
        reason: End = completion.finish_reason
        adds_nothing = plan.program.layout.tidy and len(text) <= len(plan.keep)
        if reason != "interrupted" and (adds_nothing or guard.empty):
            reason = "empty"
        tokens, mean, draw = completion.tokens, completion.mean_logprob, completion.candidate
        sampling = guard.request.sampling
        at = sampling.temperature if sampling != self.generation.sampling else None
        return Candidate(text, tokens, mean, reason, draw, len(plan.keep), at, guard=guard.facts)


def _usable(candidate: Candidate, plan: Plan) -> bool:
    """Whether it can be a turn: in a tidy program, one that adds more than white space."""
    adds = not plan.program.layout.tidy or len(candidate.text) > len(plan.keep)
    return adds and candidate.finish_reason != "empty"


def drain(pieces: Generator[Piece, None, Result], write: Callable[[Piece], object] = lambda _: None) -> Result:
    """Run a generator to its end and return its result; `write` is called with each piece that it yields."""
    while True:
        try:
            piece = next(pieces)
        except StopIteration as stop:
            result: Result = stop.value
            return result
        write(piece)
