"""MTPB, the Multi-Turn Programming Benchmark: its 115 problems, the samples to draw, and drawing them.

Each problem has several prompts and five inputs (salesforce/CodeGen codegen1/benchmark/mtpb.jsonl, BSD-3-Clause).
Faults of the published problems are kept, so that results can be compared; `ODDITIES` lists them. Samples are drawn as
in the paper (mtpb_sample.py there): its prefix and layout, CodeGen's truncation, no second try for an empty completion,
no folding. Many programs grow at the same time: a sample's next turn is submitted when its last one is done. A sample
ends early if the context window is full.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from cgcli.core.errors import CgcliError, ContextError, Interrupted
from cgcli.engine.request import Completion, Request, TokenScore
from cgcli.evals.fetch import PublishedFile
from cgcli.evals.samples import Row, read_rows
from cgcli.program.guard import Guard
from cgcli.program.program import PAPER, GuardFacts, Layout, Program, Turn
from cgcli.program.report import guard_report
from cgcli.program.source import encode

if TYPE_CHECKING:
    from cgcli.engine.protocol import Engine, Stream
    from cgcli.native.sample import Sampling
    from cgcli.program.generation import Generation

Turns = Literal["multi", "single"]
"""multi: a completion after each prompt. single: all prompts, then one completion. The paper does not publish how it
joined the prompts; here each is a comment of its own on consecutive lines, and the completion may have as many tokens
as all turns together."""

PUBLISHED = PublishedFile(
    name="mtpb.jsonl",
    url="https://raw.githubusercontent.com/salesforce/CodeGen/HEAD/codegen1/benchmark/mtpb.jsonl",
    size=87_959,
    sha256="3ab79ddb160f484a63491330ba72204930d56cc946f7c0c5fb469622a941f89c",
    licence="BSD-3-Clause",
)
PREFIX = "# Import libraries.\n\nimport numpy as np\n\n"
LAYOUT: Layout = PAPER
MAX_TOKENS = 256  # of a turn, unless the problem has its own limit
ODDITIES = {
    "10": "the second and fifth input are the same; both count",
    "17": "the first prompt contains a line end; only its first line is commented, as in the paper",
    "41": "two inputs expect None; paper rules never accept it, strict rules also accept the text None",
    "57": "six outputs for five inputs; the sixth is unused, and the fifth belongs to another input",
    "89": "the expected values are dicts, which paper rules never accept",
}
_BYTES_PER_TOKEN = 2  # a low estimate: prompts have three or more
_TURN_OVERHEAD = 8  # tokens of a turn besides prompt and completion


@dataclass(frozen=True)
class Case:
    """One input of a problem."""

    problem: Problem
    number: int  # from 0
    prompts: tuple[str, ...]  # with the input filled in
    expected: Any  # the value to print

    @property
    def input(self) -> dict[str, Any]:
        return self.problem.inputs[self.number]


@dataclass(frozen=True)
class Problem:
    """A problem as published."""

    id: str
    category: str
    prompts: tuple[str, ...]
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[Any, ...]
    max_tokens: int = MAX_TOKENS  # of a turn

    def cases(self) -> Iterator[Case]:
        """Each input with its output; inputs or outputs without a counterpart are dropped."""
        for number, (values, expected) in enumerate(zip(self.inputs, self.outputs, strict=False)):
            yield Case(self, number, tuple(prompt.format(**values) for prompt in self.prompts), expected)


def load_problems(path: Path) -> list[Problem]:
    """Read a file in MTPB's format: problems by number. Raises UsageError, CgcliError."""
    hint = "pass the published file with --data FILE, or omit --data to download it"
    try:
        problems = [_problem(row) for row in read_rows(path)]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        reason = f"a problem has no {error}" if isinstance(error, KeyError) else str(error)
        raise CgcliError(f"{path} is not an MTPB file: {reason}", hint=hint) from error
    if not problems:
        raise CgcliError(f"{path} has no problems", hint=hint)
    return sorted(problems, key=lambda problem: problem.id.zfill(8))


def _problem(row: dict[str, Any]) -> Problem:
    problem = Problem(
        str(row["id"]),
        str(row["category"]),
        tuple(row["prompts"]),
        tuple(row["inputs"]),
        tuple(row["outputs"]),
        int(row.get("max_gen_length", MAX_TOKENS)),
    )
    if not problem.prompts or not list(problem.cases()):  # this also tries to fill in the inputs
        raise ValueError("a problem has no prompts or no inputs")
    return problem


def oddities(problems: Iterable[str]) -> dict[str, str]:
    """The entries of ODDITIES for these problem numbers."""
    known = set(problems)
    return {number: what for number, what in ODDITIES.items() if number in known}


# --- samples


class MTPBKey(NamedTuple):
    """Identifies a sample in a file: its fields are fields of the row."""

    id: str
    case: int
    turns: Turns
    temperature: float
    seed: int
    index: int  # type: ignore[assignment]  # hides tuple.index


@dataclass(frozen=True)
class SampleSpec:
    """A sample to draw."""

    case: Case
    turns: Turns
    index: int  # candidate number; with the seed it fixes the draws

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompt of each turn."""
        return self.case.prompts if self.turns == "multi" else (f"\n{LAYOUT.mark} ".join(self.case.prompts),)

    @property
    def max_tokens(self) -> int:
        """Of a turn."""
        return self.case.problem.max_tokens * (1 if self.turns == "multi" else len(self.case.prompts))

    def key(self, sampling: Sampling) -> MTPBKey:
        """The key of its row in a file of samples."""
        return MTPBKey(
            self.case.problem.id, self.case.number, self.turns, sampling.temperature, sampling.seed, self.index
        )


@dataclass(frozen=True)
class Sample:
    """A program that was drawn."""

    spec: SampleSpec
    program: Program
    tokens: int  # drawn
    mean_logprob: float | None  # of the drawn tokens, in nats; None if there are none
    finish_reasons: tuple[str, ...]  # of each turn; `context` at the end if the window was full
    prompt_tokens: int
    #: Over the prompts' tokens, comment marks included, each given the whole program before it.
    prompt_perplexity: float | None
    guarded: tuple[GuardFacts | None, ...] = ()  # what the guards did to each turn

    def row(self) -> Row:
        """The fields that the paper's sampler writes, and more."""
        case, program = self.spec.case, self.program
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
            "turns": self.spec.turns,
            "number_of_turns": len(case.prompts),
            "index": self.spec.index,
            "tokens": self.tokens,
            "mean_logprob": self.mean_logprob,
            "finish_reasons": list(self.finish_reasons),
            "prompt_tokens": self.prompt_tokens,
            "prompt_perplexity": self.prompt_perplexity,
            **({"guarded": [guard_report(one or GuardFacts()) for one in self.guarded]} if any(self.guarded) else {}),
        }


# --- drawing


def draw(engine: Engine, specs: Iterable[SampleSpec], generation: Generation) -> Iterator[Sample]:
    """Draw samples, as many at a time as the engine has sequences, and yield each as it completes, in any order.

    `generation` gives sampling, truncation and stops; the token limit of a turn is the problem's.
    Raises Interrupted after Ctrl-C, ContextError if memory has no room for a single sample.
    """
    known: dict[bytes, Stream] = {}
    waiting = (_SampleInProgress(spec, generation, engine, known) for spec in specs)
    running: dict[Stream, _SampleInProgress] = {}
    ready: deque[_SampleInProgress] = deque()
    try:
        while True:
            while len(running) + len(ready) < engine.sequences and (sample := next(waiting, None)):
                if sample.fits():
                    ready.append(sample)
                else:
                    yield sample.sample()
            while ready and (stream := _try_submit(ready[0], alone=not running)):
                running[stream] = ready.popleft()
            if not running and not ready:
                return
            for stream in engine.wait(running):
                sample = running.pop(stream)
                if following := sample.follow():
                    running[following] = sample
                elif sample.finish_turn():
                    yield sample.sample()
                else:
                    ready.append(sample)
    finally:
        engine.cancel(running)


def draw_rows(
    engine: Engine,
    specs: Iterable[SampleSpec],
    generation: Generation,
    facts: Mapping[str, object],
    expected: Sequence[SampleSpec],
) -> Iterator[Row]:
    """Like `draw`, but yields rows, each with `facts`. A cache that does not exist yet is sized for `expected`."""
    engine.reserve(cells_needed(engine, expected), texts=engine.sequences)
    for sample in draw(engine, specs, generation):
        yield {**sample.row(), **facts}


def _try_submit(sample: _SampleInProgress, *, alone: bool) -> Stream | None:
    """Submit its next turn; None if other samples occupy the room that its context needs."""
    try:
        return sample.submit()
    except ContextError:
        if alone:
            raise
        return None


def cells_needed(engine: Engine, specs: Iterable[SampleSpec]) -> int:
    """An estimate of the tokens in the cache while as many samples of average length as fit are drawn together."""
    sizes = []
    for spec in specs:
        text = PREFIX + "".join(map(Program(layout=LAYOUT).comment, spec.prompts))
        tokens = len(encode(text)) // _BYTES_PER_TOKEN + len(spec.prompts) * (spec.max_tokens + _TURN_OVERHEAD)
        sizes.append(min(engine.window, tokens))
    return engine.sequences * sum(sizes) // max(1, len(sizes))


@dataclass
class _SampleInProgress:
    """A sample that has turns left to draw."""

    spec: SampleSpec
    generation: Generation
    engine: Engine
    known: dict[bytes, Stream]  # by the first context: what scores it, for all samples of an input
    program: Program = field(default_factory=lambda: Program(PREFIX, (), LAYOUT))
    guard: Guard | None = None  # of the turn that is drawn
    stream: Stream | None = None
    scored: Stream | None = None  # what scores its prompt
    guarded: list[GuardFacts | None] = field(default_factory=list)  # for each turn
    completions: list[Completion] = field(default_factory=list)
    scores: list[TokenScore] = field(default_factory=list)  # of the prompts' tokens
    full: bool = False  # the window has no room for the next turn

    def submit(self) -> Stream:
        """Submit the next completion; its prompt is scored, too. Raises ContextError if the cache has no room."""
        turn = len(self.program.turns)
        before = encode(self.program.source())
        context = before + encode(self.program.opening(self.spec.prompts[turn]))
        last = turn == len(self.spec.prompts) - 1
        how = self.generation if last else replace(self.generation, end_bars=False)  # later turns read the bar
        cutter = functools.partial(how.cutter, context)
        scored = self.known.get(context)
        request = Request(
            context,
            self.generation.sampling,
            cutter,
            self.spec.max_tokens,
            turn,
            candidate=self.spec.index,
            score_from=None if scored else len(before),
        )
        prompt = self.spec.prompts[turn]
        self.guard = Guard(self.engine, how, request, context.decode(), prompt=prompt)
        self.stream = self.engine.submit(self.guard.request)
        self.scored = scored or self.stream
        if turn == 0:
            self.known[context] = self.scored
        return self.stream

    def follow(self) -> Stream | None:
        """Submit what the guard asks for after the completion of a turn, if anything."""
        if not (self.guard and self.stream and self.stream.completion):
            raise RuntimeError("the turn is not done")
        following = self.guard.follow(self.stream.completion)
        if following is None:
            return None
        self.stream = self.engine.submit(following, first=True)
        return self.stream

    def finish_turn(self) -> bool:
        """Add the completed turn to the program; returns whether it was the last. Raises Interrupted after Ctrl-C."""
        if self.guard is None or self.scored is None:
            raise RuntimeError("the turn is not done")
        completion, facts, self.guard, self.stream = self.guard.completion, self.guard.facts, None, None
        if completion.finish_reason == "interrupted":
            raise Interrupted
        self.completions.append(completion)
        self.scores += self.scored.scores
        self.guarded.append(facts)
        self.program = self.program.add(Turn(self.spec.prompts[len(self.program.turns)], completion.text))
        return len(self.program.turns) == len(self.spec.prompts) or not self.fits()

    def fits(self) -> bool:
        """Whether the window has room for the next turn."""
        opening = self.program.opening(self.spec.prompts[len(self.program.turns)])
        try:
            self.engine.check(encode(self.program.source() + opening))
        except ContextError:
            self.full = True
        return not self.full

    def sample(self) -> Sample:
        from cgcli.engine.request import perplexity

        scored = [one for one in self.completions if one.mean_logprob is not None]
        tokens = sum(one.tokens for one in scored)
        total = sum((one.mean_logprob or 0.0) * one.tokens for one in scored)
        return Sample(
            self.spec,
            self.program,
            tokens,
            total / tokens if tokens else None,
            (*(one.finish_reason for one in self.completions), *(["context"] if self.full else [])),
            len(self.scores),
            perplexity([score.logprob for score in self.scores]),
            tuple(self.guarded),
        )
