"""`grow` with a scripted engine: the text it yields, and the contexts that the model reads."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgcli.engine.protocol import Engine
from cgcli.engine.request import Completion, Request
from cgcli.native.sample import Sampling
from cgcli.program.generation import Generation
from cgcli.program.grow import grow
from cgcli.program.program import RAW, Layout, Program, Turn
from cgcli.program.session import Session, drain
from cgcli.program.truncate import CODEGEN, NONE
from tests.program.fake import ScriptedEngine

PLAIN = Generation(Sampling(seed=7), rules=CODEGEN)


def session(engine: ScriptedEngine, prefix: str = "", layout: Layout | None = None, how: Generation = PLAIN) -> Session:
    return Session(cast(Engine, engine), Program(prefix, layout=layout or Layout()), how)


def run(one: Session, prompts: list[str | None], **how: Any) -> tuple[str, list[Turn]]:
    turns: list[Turn] = []
    return "".join(grow(one, prompts, turns, **how)), turns


def test_turns_build_one_program_and_the_model_reads_its_source() -> None:
    engine = ScriptedEngine(["x = [1]\n\n\n# more", "print(sorted(x))\n"])
    one = session(engine, "import sys\n")
    text, turns = run(one, ["read", "sort"])
    assert text == "\n# read\nx = [1]\n\n# sort\nprint(sorted(x))\n"
    assert one.program.source() == "import sys\n" + text
    assert [request.context.decode() for request in engine.requests] == [
        "import sys\n\n# read\n",
        "import sys\n\n# read\nx = [1]\n\n# sort\n",
    ]
    assert [(request.turn, request.candidate) for request in engine.requests] == [(0, 0), (1, 0)]
    assert [turn.candidates[0].finish_reason for turn in turns] == ["stop", "length"]


def test_nothing_comes_out_before_the_model_has_spoken() -> None:
    pieces = grow(session(ScriptedEngine(["\n\n x"], width=1)), ["read"], [], head="#!python\n\n")
    assert next(pieces) == "#!python\n\n# read\n\n\n x"


def test_empty_completions_are_drawn_again_as_the_next_candidates() -> None:
    engine = ScriptedEngine(["# no", " \n", "y = 2"])
    text, turns = run(session(engine), ["p"])
    assert text == "# p\ny = 2\n"
    assert [request.candidate for request in engine.requests] == [0, 1, 2]
    assert [candidate.finish_reason for candidate in turns[0].candidates] == ["empty", "empty", "length"]
    assert turns[0].accepted == 2


def test_a_turn_that_stays_empty_is_no_part_of_the_program() -> None:
    engine = ScriptedEngine([""] * 4 + ["z = 3"])
    one = session(engine, "a = 1\n")
    text, turns = run(one, ["first", "second"])
    assert text == "\n# second\nz = 3\n"
    assert one.program.source() == "a = 1\n" + text
    assert turns[0].accepted is None and len(turns[0].candidates) == 4


def test_the_most_probable_candidate_is_kept_and_prints_at_once() -> None:
    engine = ScriptedEngine(["", "b = 2", "c = 3"])  # the scripted engine's means fall from call to call
    text, turns = run(session(engine, how=replace(PLAIN, candidates=3)), ["p"])
    assert text == "# p\nb = 2\n"
    assert turns[0].accepted == 1


def test_an_interrupted_candidate_is_only_kept_where_there_is_no_other() -> None:
    class Stopping(ScriptedEngine):
        """Ctrl-C comes in the second candidate, whose beginning is the more probable text."""

        def stream(self, request: Request) -> Generator[str, None, Completion]:
            self.interrupt_after = 1 if request.candidate else None
            done = yield from super().stream(request)
            return replace(done, mean_logprob=0.0 if request.candidate else -3.0)

    text, turns = run(session(Stopping(["whole = 1", "frag = 2"]), how=replace(PLAIN, candidates=4)), ["p"])
    assert text == "# p\nwhole = 1\n"
    assert len(turns[0].candidates) == 2 and turns[0].accepted == 0 and turns[0].interrupted


def test_interrupted_turns_keep_their_part_and_end_the_run() -> None:
    engine = ScriptedEngine(["ab = cd", "never"], width=2, interrupt_after=2)
    text, turns = run(session(engine), ["p", "q"])
    assert text == "# p\nab =\n"
    assert len(turns) == 1 and turns[0].interrupted


def test_interrupted_before_any_text_is_not_drawn_again() -> None:
    engine = ScriptedEngine(["abc"], interrupt_after=0)
    text, turns = run(session(engine), ["p"], head="#!x\n")
    assert text == "" and turns[0].accepted is None and turns[0].interrupted


def test_raw_keeps_every_byte_even_blank_ones() -> None:
    how = replace(PLAIN, rules=NONE, redraws=0)
    text, turns = run(session(ScriptedEngine([" \n\n\n# "]), "def", RAW, how), [" f():"])
    assert text == " f(): \n\n\n# "
    assert turns[0].accepted == 0


def test_rules_about_lines_wait_for_the_next_line_inside_one() -> None:
    for width in (1, 50):
        text, _ = run(session(ScriptedEngine(["# five\n# cut"], width=width), "x = 5  "), [None])
        assert text == "# five\n"
        text, _ = run(session(ScriptedEngine(["# cut", "y"], width=width), "x = 5\n"), [None])
        assert text == "y\n"


def test_prompts_are_scored_over_their_own_bytes() -> None:
    _, turns = run(
        session(
            ScriptedEngine(["x"]),
            "a\n\n",
        ),
        ["abc"],
    )
    assert turns[0].facts
    assert turns[0].facts.prompt_tokens == len("# abc\n")
    assert turns[0].facts.prompt_perplexity == pytest.approx(2.718281828)


words = st.text(alphabet="ab =\n#", max_size=10)


@given(
    st.text(alphabet="a\n ", max_size=6),
    st.lists(st.tuples(st.none() | words.filter(str.strip), words), min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from([Layout(), Layout("--"), RAW]),
)
def test_what_was_there_and_what_comes_out_are_the_whole(
    before: str, turns: list[tuple[Any, str]], comments: bool, layout: Layout
) -> None:
    how = replace(PLAIN, redraws=0)
    engine = ScriptedEngine([text for _, text in turns])
    one = session(engine, before, layout, how)
    text, _ = run(one, [prompt for prompt, _ in turns], comments=comments)
    assert before + text == one.program.source(comments=comments)


def count() -> Generator[int, None, str]:
    yield 1
    yield 2
    return "done"


def test_the_pieces_are_written_and_the_result_comes_back() -> None:
    seen: list[int] = []
    assert drain(count(), seen.append) == "done"
    assert seen == [1, 2]
    assert drain(count()) == "done"


def test_a_writer_that_ends_iterations_is_not_taken_for_the_end() -> None:
    def full(_: int) -> None:
        raise StopIteration("not the result")

    with pytest.raises(StopIteration, match="not the result"):
        drain(count(), full)
