"""What the model is asked, and which assertions count; drawn aside, so that the rest of the program is the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from cgcli.core.errors import Interrupted
from cgcli.engine.engine import EngineOptions, LlamaEngine
from cgcli.native.interrupt import Interrupt
from cgcli.native.sample import Sampling
from cgcli.program.assertions import FunctionUnderTest, assertions, common_calls, draw_assertions, function_under_test
from cgcli.program.generation import Generation
from cgcli.program.program import Picked, Program
from cgcli.program.reviewer import review, without_comments
from cgcli.program.session import Option, Plan, Session, drain
from tests.program.fake import ScriptedEngine

DOCUMENTED = 'import re\n\ndef f(x: int, *, y=2) -> int:\n    """Double."""\n'


class TestFunction:
    def test_the_one_that_most_candidates_define(self) -> None:
        found = function_under_test("y = 1\n", ["def f(x): pass", "def g(x):\n    return x", "def g(x): pass", "x = ("])
        assert found == FunctionUnderTest("g", 6, "def g(x):", "")

    def test_of_several_the_one_that_the_prompt_names_else_the_last(self) -> None:
        two = "def f(x): pass\ndef g(x): pass\n"
        assert function_under_test("", [two], "a function f")  # it is a word of the prompt
        assert [getattr(function_under_test("", [two], prompt), "name", "") for prompt in ("use f", "offer")] == [
            "f",
            "g",
        ]

    def test_the_one_whose_body_is_written(self) -> None:
        found = function_under_test(DOCUMENTED, ["    return x\n", "    return (\n"])
        assert found == FunctionUnderTest("f", 11, "def f(x: int, *, y=2) -> int:", "Double.")
        assert found.stub == 'def f(x: int, *, y=2) -> int:\n    """Double."""\n    pass\n'

    def test_a_function_before_the_turn_is_not_tested(self) -> None:
        assert function_under_test("def f(x):\n    return x\n\n# print it\n", ["print(f(2))"]) is None

    @pytest.mark.parametrize("code", ["x = 1", "def f(): pass", "class A:\n    def f(self): pass", "def f(x", ""])
    def test_without_parameters_there_is_nothing_to_test(self, code: str) -> None:
        assert function_under_test("", [code]) is None


class TestAssertions:
    @pytest.mark.parametrize(
        ("text", "calls"),
        [
            ("assert f(1) == 2\nassert f(3)\n", ["f(1)", "f(3)"]),
            ("assert not f([1, -2], y={'a': (None,)})", ["f([1, -2], y={'a': (None,)})"]),
            ("assert f(\n    1,\n) == [\n    2,\n]\nassert f(2) ==", ["f(1)"]),
            ("assert 4 == f(2), 'four'\n\nThis is prose.\n", ["f(2)"]),
            ("assert abs(f(2) - 4) < 0.1", ["f(2)"]),
            ("assert f(1) == f(2)\nassert f(x) == 1\nassert f(*[1]) == 1\nassert f(**{}) == 1\nassert g(1)", []),
            ("assert f(1) == '''\nassert f(2) == 2\n", ["f(2)"]),
            ("assert f('" + "x" * 600 + "')", []),
            ("x = f(1)\nassertion = f(2)\nassert f(3)\nassert f(4) in (1, 2); print(f(5))", ["f(3)"]),
        ],
    )
    def test_well_formed_ones_with_literal_arguments_count(self, text: str, calls: list[str]) -> None:
        assert [one.call for one in assertions(text, "f")] == calls

    def test_the_statement_is_kept_for_those_who_believe_it(self) -> None:
        assert [one.text for one in assertions("assert  f(1)==2, 'no'\n", "f")] == ["assert f(1) == 2"]

    def test_common_calls_come_first_and_once(self) -> None:
        texts = ["assert f(1) == 2\nassert f(2) == 2", "assert f(2) == 3", "assert f(3)"]
        assert common_calls(texts, "f", 2) == ["f(2)", "f(1)"]


class TestDrawing:
    def plan(self, engine: ScriptedEngine, program: Program, prompt: str | None = None) -> tuple[Session, Plan]:
        session = Session(engine, program, Generation(Sampling(seed=7)))  # type: ignore[arg-type]
        return session, session.plan(prompt)

    def test_the_texts_begin_with_the_call(self) -> None:
        engine = ScriptedEngine(["1) == 2\nassert f(2) == 3\n\nprose", "3)\n```\n"])
        session, plan = self.plan(engine, Program(DOCUMENTED))
        function = function_under_test(DOCUMENTED, ["    return x"])
        assert function
        assert draw_assertions(session, plan, function, 2) == ["assert f(1) == 2\nassert f(2) == 3", "assert f(3)"]
        assert engine.requests[0].sampling == Sampling(0.8, 0.95, seed=7)
        assert engine.asides == [DOCUMENTED.encode()]

    def test_what_does_not_fit_is_not_asked(self) -> None:
        engine = ScriptedEngine([], window=100)
        session, plan = self.plan(engine, Program(DOCUMENTED))
        assert draw_assertions(session, plan, FunctionUnderTest("f", 0, "def f(x):", "x" * 100), 2) == []
        assert draw_assertions(session, plan, FunctionUnderTest("f", 3, "def f(x):", ""), 0) == []
        assert review(session, plan, ["    return " + "x" * 100]) is None

    def test_ctrl_c_ends_it(self) -> None:
        session, plan = self.plan(ScriptedEngine(["1)"], interrupt_after=0), Program())
        with pytest.raises(Interrupted):
            draw_assertions(session, plan, FunctionUnderTest("f", 0, "def f(x):", ""), 1)


@pytest.mark.parametrize(
    ("code", "mark", "left"),
    [
        ("# a\nx = '#'  # b\n\n# c\n", "#", "x = '#'\n\n"),
        ("    # a\n    x = 1", "#", "    x = 1"),
        ("x = ( # a\n# b\n'''", "#", "x = (\n'''"),
        ('def f():\n    """a\n    b"""\n    return "c"\n"d"\n', "#", 'def f():\n    return "c"\n'),
        ("// a\nint x; // b\n", "//", "int x; // b\n"),
    ],
)
def test_comments_are_left_out(code: str, mark: str, left: str) -> None:
    assert without_comments(code, mark) == left


def test_exact_texts_are_the_same_with_and_without_tests_and_reviews(tiny_model: Path, interrupt: Interrupt) -> None:
    def texts(aside: bool) -> list[str]:
        def prefer(session: Session, plan: Plan, options: list[Option]) -> tuple[int, Picked]:
            if aside:
                assert draw_assertions(
                    session, plan, FunctionUnderTest("f", len(plan.program.source()), "def f(x):", "")
                )
                assert review(session, plan, [one.candidate.text for one in options])
            return options[-1].index, Picked("probable")

        with LlamaEngine(tiny_model, EngineOptions(exact=True), interrupt=interrupt) as engine:
            how = Generation(Sampling(0.9, seed=3), max_tokens=40, candidates=4)
            session = Session(engine, Program("import re\n" * 20), how, prefer=prefer)  # type: ignore[arg-type]
            turns = [drain(session.add(prompt)) for prompt in ("one", "two", "three")]
        return [candidate.text for turn in turns for candidate in turn.candidates]

    assert texts(aside=True) == texts(aside=False)
