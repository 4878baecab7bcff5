"""Drawing samples of MTPB: many programs grow side by side, each turn submitted when the one before it is done.

The protocol is the paper's (mtpb_sample.py of salesforce/CodeGen): its prefix and layout, CodeGen's truncation, no
second try for an empty completion, nothing of a program left out. A sample whose program fills the window ends there.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cgcli.core.errors import ContextError, Interrupted
from cgcli.engine.engine import perplexity
from cgcli.engine.protocol import Engine, Stream
from cgcli.engine.request import Completion, Request, TokenScore
from cgcli.evals.mtpb import LAYOUT, PREFIX, Case, Turns
from cgcli.evals.samples import Row
from cgcli.program.program import Program, encode
from cgcli.program.session import Generation
from cgcli.program.turn import Turn

_SCORES_KEPT = 256
"""Contexts: samples of one input begin alike."""
_BYTES = 2
"""Of text, a token at least: prompts have three and more."""
_MORE = 8
"""Tokens of a turn beside prompt and completion."""


@dataclass(frozen=True)
class Wanted:
    """A sample to draw. index: which of those of one input, of 0, 1, …; it selects the draws."""

    case: Case
    turns: Turns
    index: int


@dataclass(frozen=True)
class Sample:
    """A program that was drawn. tokens: drawn; mean_logprob: of them all, in nats.

    prompt_perplexity: over the prompts' tokens, comment marks included, each given all before it, so in a program of
    several turns also the code drawn before. finish_reasons: of each turn; `context` where the window was full.
    """

    wanted: Wanted
    program: Program
    tokens: int
    mean_logprob: float | None
    finish_reasons: tuple[str, ...]
    prompt_tokens: int
    prompt_perplexity: float | None

    def row(self) -> Row:
        """As the paper's own sampler writes it, and more."""
        case, program = self.wanted.case, self.program
        parts = [program.prefix]
        for turn in program.turns:
            parts += [program.comment(turn.prompt or ""), turn.completion + program.closing(turn.completion)]
        return {
            "id": case.problem.id,
            "input": case.input,
            "gold_output": case.expected,
            "completions": program.source(),
            "prompts_completions": parts,
            "case": case.number,
            "turns": self.wanted.turns,
            "number_of_turns": len(case.prompts),
            "index": self.wanted.index,
            "tokens": self.tokens,
            "mean_logprob": self.mean_logprob,
            "finish_reasons": list(self.finish_reasons),
            "prompt_tokens": self.prompt_tokens,
            "prompt_perplexity": self.prompt_perplexity,
        }


def draw(engine: Engine, wanted: Iterable[Wanted], generation: Generation) -> Iterator[Sample]:
    """Draw samples, as many at a time as the engine has sequences; yields each when it is done, in no order.

    generation: its sampling, truncation and stops; how many tokens a turn may have is the problem's.
    Raises Interrupted after Ctrl-C, ContextError where memory has no room for one.
    """
    kept = functools.lru_cache(maxsize=_SCORES_KEPT)(lambda text, start: tuple(engine.score(text, start)))
    waiting = (_Growing(one, generation, engine, kept) for one in wanted)
    going: dict[Stream, _Growing] = {}
    ready: deque[_Growing] = deque()
    try:
        while True:
            while len(going) + len(ready) < engine.sequences and (one := next(waiting, None)):
                if one.fits():
                    ready.append(one)
                else:
                    yield one.sample()
            while ready and (stream := _submitted(ready[0], alone=not going)):
                going[stream] = ready.popleft()
            if not going and not ready:
                return
            for stream in engine.wait(going):
                one = going.pop(stream)
                if one.finished():
                    yield one.sample()
                else:
                    ready.append(one)
    finally:
        engine.cancel(going)


def draw_rows(
    engine: Engine,
    wanted: Iterable[Wanted],
    generation: Generation,
    facts: Mapping[str, object],
    likely: Sequence[Wanted],
) -> Iterator[Row]:
    """As `draw`, each as its row. facts: in every row; likely: those that room is made for, if there is none yet."""
    engine.reserve(cells(engine, likely), texts=engine.sequences)
    for sample in draw(engine, wanted, generation):
        yield {**sample.row(), **facts}


def _submitted(one: _Growing, *, alone: bool) -> Stream | None:
    """Its next turn, under way; None where others have the room that reading its prompt takes."""
    try:
        return one.submit()
    except ContextError:
        if alone:
            raise
        return None


def cells(engine: Engine, wanted: Iterable[Wanted]) -> int:
    """Tokens that the samples drawn at a time may have, were all of middling length."""
    sizes = []
    for one in wanted:
        prompts, most = one.case.problem.asked(one.case, one.turns)
        text = PREFIX + "".join(map(Program(layout=LAYOUT).comment, prompts))
        tokens = len(encode(text)) // _BYTES + len(prompts) * (most + _MORE)
        sizes.append(min(engine.window, tokens))
    return engine.sequences * sum(sizes) // max(1, len(sizes))


@dataclass
class _Growing:
    """A sample on its way."""

    wanted: Wanted
    generation: Generation
    engine: Engine
    score: Callable[[bytes, int], tuple[TokenScore, ...]]
    program: Program = field(default_factory=lambda: Program(PREFIX, (), LAYOUT))
    stream: Stream | None = None
    completions: list[Completion] = field(default_factory=list)
    scores: list[TokenScore] = field(default_factory=list)
    full: bool = False

    def submit(self) -> Stream:
        """Have the next prompt read and its completion drawn. Raises ContextError where the cache has no room."""
        prompts, most = self.wanted.case.problem.asked(self.wanted.case, self.wanted.turns)
        turn = len(self.program.turns)
        before = encode(self.program.source())
        context = before + encode(self.program.opening(prompts[turn]))
        scores = self.score(context, len(before))
        cutter = functools.partial(self.generation.cutter, context)
        sampling = self.generation.sampling
        self.stream = self.engine.submit(Request(context, sampling, cutter, most, turn, self.wanted.index))
        self.scores += scores
        return self.stream

    def finished(self) -> bool:
        """Take what was drawn; whether that was the last turn. Raises Interrupted where it was not drawn to its end."""
        if not (self.stream and self.stream.completion):
            raise RuntimeError("the turn is not done")
        prompts, _ = self.wanted.case.problem.asked(self.wanted.case, self.wanted.turns)
        completion, self.stream = self.stream.completion, None
        if completion.finish_reason == "interrupted":
            raise Interrupted
        self.completions.append(completion)
        self.program = self.program.add(Turn(prompts[len(self.program.turns)], completion.text))
        return len(self.program.turns) == len(prompts) or not self.fits()

    def fits(self) -> bool:
        """Whether the window has room for the next turn."""
        prompts, _ = self.wanted.case.problem.asked(self.wanted.case, self.wanted.turns)
        try:
            self.engine.check(encode(self.program.source() + self.program.opening(prompts[len(self.program.turns)])))
        except ContextError:
            self.full = True
        return not self.full

    def sample(self) -> Sample:
        drawn = [one for one in self.completions if one.mean_logprob is not None]
        tokens = sum(one.tokens for one in drawn)
        total = sum((one.mean_logprob or 0.0) * one.tokens for one in drawn)
        return Sample(
            self.wanted,
            self.program,
            tokens,
            total / tokens if tokens else None,
            (*(one.finish_reason for one in self.completions), *(["context"] if self.full else [])),
            len(self.scores),
            perplexity([score.logprob for score in self.scores]),
        )
