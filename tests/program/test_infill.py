"""Filling a hole: what the model reads, and which candidate is chosen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cgcli.engine.request import InfillKind
from cgcli.native.sample import Sampling
from cgcli.program.generation import Generation
from cgcli.program.hole import Hole
from cgcli.program.infill import Filling, HolePlan, fill, first_tokens, last_tokens
from tests.program.fake import ScriptedEngine

HOLE = Hole("def f(x):\n    ", "\n    return y\n", "line", "#")
HOW = Generation(Sampling(0.2), 50, candidates=3, others=0.6)


class FillingEngine(ScriptedEngine):
    infill: InfillKind = ""


class Infilling(FillingEngine):
    infill: InfillKind = "codegen2"


def filled(engine: FillingEngine, hole: Hole = HOLE, how: Generation = HOW) -> Filling:
    return fill(engine, hole, how)  # type: ignore[arg-type]


def test_the_text_behind_chooses() -> None:
    engine = FillingEngine(["y = 1\n", "y = x\n", "z = x\n"])
    engine.likes = {b"y = x": -0.1}
    found = filled(engine)
    assert (found.kind, found.text, found.accepted) == ("reranked", "y = x", 1)
    assert [one.text for one in found.candidates] == ["y = 1", "y = x", "z = x"]
    behind = len(HOLE.after)
    assert [one.suffix_logprob for one in found.candidates] == pytest.approx([-behind, -0.1 * behind, -behind])
    assert [one.logprob for one in found.candidates] == pytest.approx([-5, -0.5, -5])
    assert engine.reviewed[1] == b"def f(x):\n    y = x\n    return y\n"


def test_equal_candidates_are_scored_once_and_empty_ones_never() -> None:
    engine = FillingEngine(["y = x\n", "y = x\n", "return y\n"])
    assert filled(engine).text == "y = x"
    assert len(engine.reviewed) == 1


def test_of_a_block_only_the_text_behind_counts() -> None:
    """A line has its own probability, too, and a long one little."""
    texts = ["y = 1\n    y = 2\n", "z\n"]
    engine = FillingEngine(texts)
    engine.likes = {b"y = 1": -0.9}
    assert filled(engine, replace(HOLE, extent="block"), replace(HOW, candidates=2)).accepted == 0
    engine = FillingEngine(["y = 123456789\n", "z\n"])
    engine.likes = {b"y = 1": -0.9}
    assert filled(engine, HOLE, replace(HOW, candidates=2)).accepted == 1


def test_code_comes_before_comments() -> None:
    engine = FillingEngine(["# a\n", "y = x\n"])
    engine.likes = {b"# a": -0.1}
    found = filled(engine, HOLE, replace(HOW, candidates=2))
    assert (found.text, found.ranking) == ("y = x", (1, 0))


def test_all_candidates_may_be_empty() -> None:
    found = filled(FillingEngine(["return y\n"] * 3))
    assert (found.accepted, found.text) == (None, "")


def test_candidates_differ_in_their_draws_and_temperature() -> None:
    engine = FillingEngine(["a\n", "b\n", "c\n"])
    filled(engine)
    assert [one.candidate for one in engine.requests] == [0, 1, 2]
    assert [one.sampling.temperature for one in engine.requests] == [0.2, 0.6, 0.6]
    assert {(one.context, one.suffix, one.continues_code) for one in engine.requests} == {
        (b"def f(x):\n    ", None, True)
    }


def test_a_model_that_infills_reads_both_sides() -> None:
    engine = Infilling(["y = 1\n", "y = x\n", "y = 3\n"])
    found = filled(engine)
    assert {(one.context, one.suffix) for one in engine.requests} == {(b"def f(x):\n    ", b"\n    return y\n")}
    assert (found.kind, engine.reviewed) == ("codegen2", [])
    assert found.text == "y = 1"  # the most probable one: the log-probabilities of the script fall
    assert found.candidates[0].suffix_logprob is None


@pytest.mark.parametrize("kind", ["", "codegen2"])
def test_what_is_farthest_from_the_hole_goes_first(kind: InfillKind) -> None:
    before = "".join(f"a{number} = {number}\n" for number in range(100))
    after = "\n" + before.replace("a", "b")
    plan = HolePlan(Hole(before, after, "line", "#"), HOW, kind, 400, list)
    assert before.endswith(plan.before)
    assert plan.before.startswith("a")  # whole lines
    assert after.startswith(plan.after)
    assert plan.after.endswith("\n")
    total = len(plan.before) + len(plan.after)
    assert 300 < total + HOW.max_tokens < 400
    assert len(plan.after) <= (64 if kind == "" else 90)
    assert plan.unread == len(before) - len(plan.before) + (len(after) - len(plan.after) if kind else 0)


def test_a_short_text_on_one_side_leaves_its_room_to_the_other() -> None:
    long = "".join(f"a{number} = {number}\n" for number in range(100))
    plan = HolePlan(Hole("x = 1\n", "\n" + long, "line", "#"), HOW, "fim", 400, list)
    assert plan.before == "x = 1\n"
    assert len(plan.after) > 300


def test_parts_of_a_text_are_whole_lines_if_one_fits() -> None:
    assert first_tokens("abc\ndef\nghi\n", 9, len) == "abc\ndef\n"
    assert last_tokens("abc\ndef\nghi\n", 9, len) == "def\nghi\n"
    assert first_tokens("abcdef", 3, len) == "abc"
    assert last_tokens("abcdef", 3, len) == "def"
    assert first_tokens("abc", 0, len) == last_tokens("abc", 0, len) == ""


def test_ctrl_c_ends_it() -> None:
    assert filled(FillingEngine(["y = x\n"] * 3, interrupt_after=0)).interrupted


@pytest.mark.parametrize("kind", ["", "codegen2"])
def test_above_nothing_the_model_reads_the_beginning_of_a_new_program(kind: InfillKind) -> None:
    engine = Infilling(["y\n"] * 3) if kind else FillingEngine(["y\n"] * 3)
    hole = Hole("\n", "\nx = 1\n", "line", "#")
    found = fill(engine, hole, HOW, beginning="#!python\n\n")  # type: ignore[arg-type]
    assert {one.context for one in engine.requests} == {b"\n" if kind else b"#!python\n\n"}
    assert hole.filled(found.text) == "\ny\nx = 1\n"
