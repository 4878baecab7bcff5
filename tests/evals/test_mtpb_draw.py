"""MTPB samples drawn together equal those that a session draws one by one."""

from __future__ import annotations

import math
from typing import get_args

import pytest

from cgcli.core.errors import Interrupted
from cgcli.engine.engine import LlamaEngine
from cgcli.evals.mtpb import PREFIX, Problem, Sample, SampleSpec, Turns, cells_needed, draw
from cgcli.native.interrupt import Interrupt
from cgcli.native.sample import Sampling
from cgcli.program.generation import Generation
from cgcli.program.program import PAPER, Program
from cgcli.program.session import Session
from cgcli.program.truncate import CODEGEN
from tests.support.engines import MakeEngine

PROBLEMS = [
    Problem("1", "math", ("Set {a}.", "Double it.", "Print it."), ({"a": 1}, {"a": 22}), (2, 44), 12),
    Problem("2", "string", ("Two\nlines.", "Print."), ({},), ("x",), 30),
]
GENERATION = Generation(Sampling(temperature=1.0, top_p=0.95, seed=3), rules=CODEGEN)


def specs(n: int = 2) -> list[SampleSpec]:
    return [
        SampleSpec(case, turns, index)
        for problem in PROBLEMS
        for case in problem.cases()
        for turns in get_args(Turns)
        for index in range(n)
    ]


@pytest.fixture
def engine(make_engine: MakeEngine) -> LlamaEngine:
    return make_engine(exact=True, sequences=4)


def alone(engine: LlamaEngine, one: SampleSpec) -> tuple[str, float]:
    """The program and the perplexity of its prompts, drawn turn by turn by a session."""
    how = Generation(GENERATION.sampling, one.max_tokens, CODEGEN, redraws=0)
    session = Session(engine, Program(PREFIX, (), PAPER), how, fold=False)
    logprobs: list[float] = []
    for prompt in one.prompts:
        reading = session.read(session.plan(prompt))
        logprobs += [score.logprob for score in reading.scores]
        pieces = session.draw(reading, first=one.index)
        while True:
            try:
                next(pieces)
            except StopIteration as stop:
                session.program = session.program.add(stop.value)
                break
    return session.program.source(), math.exp(-sum(logprobs) / len(logprobs))


def test_samples_drawn_together_equal_samples_drawn_one_by_one(engine: LlamaEngine) -> None:
    asked = specs()
    drawn = list(draw(engine, asked, GENERATION))
    assert len(drawn) == len(asked) and all(any(one.spec is other for other in asked) for one in drawn)
    assert len({one.program.source() for one in drawn}) == len(asked)  # each has draws of its own
    for one in drawn:
        text, perplexity = alone(engine, one.spec)
        assert one.program.source() == text
        assert one.prompt_perplexity == pytest.approx(perplexity, rel=1e-6)


def test_a_row_is_as_the_papers_sampler_writes_it(engine: LlamaEngine) -> None:
    multi, single = (next(draw(engine, [one], GENERATION)).row() for one in specs(1)[-2:])
    assert multi["prompts_completions"][:2] == [PREFIX, "# Two\nlines.\n"]
    assert single["prompts_completions"][:2] == [PREFIX, "# Two\nlines.\n# Print.\n"]
    for row, turns in ((multi, 2), (single, 1)):
        assert "".join(row["prompts_completions"]) == row["completions"]
        assert row["completions"].endswith("\n\n") and len(row["prompts_completions"]) == 1 + 2 * turns
        assert (row["id"], row["input"], row["gold_output"], row["case"]) == ("2", {}, "x", 0)
        assert len(row["finish_reasons"]) == turns and row["number_of_turns"] == 2
    assert multi["tokens"] <= 60 and single["tokens"] <= 60


def test_a_program_ends_when_the_window_is_full(make_engine: MakeEngine) -> None:
    (case, _) = PROBLEMS[0].cases()
    (one,) = draw(make_engine(ctx=80, sequences=2), [SampleSpec(case, "multi", 0)], GENERATION)
    assert one.finish_reasons[-1] == "context" and 1 <= len(one.program.turns) < 3


def test_a_prompt_that_fills_the_window_gives_a_sample_without_code(make_engine: MakeEngine) -> None:
    drawn = list(draw(make_engine(ctx=50, sequences=2), specs(1), GENERATION))
    assert len(drawn) == len(specs(1)) and all(one.finish_reasons == ("context",) for one in drawn)
    assert {one.program.source() for one in drawn} == {PREFIX} and drawn[0].row()["prompt_perplexity"] is None


def test_ctrl_c_drops_unfinished_samples(make_engine: MakeEngine, interrupt: Interrupt) -> None:
    found: list[Sample] = []
    asked = [one for one in specs(4) if one.turns == "single"]
    engine = make_engine(sequences=2)
    with pytest.raises(Interrupted):
        for one in draw(engine, asked, GENERATION):
            found.append(one)
            interrupt.set()
    assert len(found) < len(asked) and not engine.cache.held
    assert not any("interrupted" in one.finish_reasons for one in found)


def test_no_token_of_a_program_is_read_twice(make_engine: MakeEngine) -> None:
    """Side by side as little is read as one by one: of a turn its prompt, and the last token before it."""
    one, many = make_engine(sequences=1), make_engine(sequences=8)
    for engine in (one, many):
        engine.reserve(4000)
        assert len(list(draw(engine, specs(4), GENERATION))) == len(specs(4))
    assert many.timings.prefill_tokens <= one.timings.prefill_tokens
    assert many.timings.passes < one.timings.passes / 2


def test_the_cache_has_room_for_samples_drawn_together(engine: LlamaEngine) -> None:
    asked = specs(1)
    least = min(sum(len(prompt) for prompt in one.case.prompts) for one in asked)
    assert cells_needed(engine, asked) > engine.sequences * (len(PREFIX) // 2 + least // 2)
