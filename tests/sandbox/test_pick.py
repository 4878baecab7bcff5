"""Candidates are picked by what they return or print, or by the reviewer; what is visibly wrong comes last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from cgcli.core.errors import UsageError
from cgcli.engine.stops import Stops
from cgcli.native.sample import Sampling
from cgcli.program.generation import Generation
from cgcli.program.program import RAW, Candidate, Layout, Program, Turn
from cgcli.program.rank import Rank
from cgcli.program.session import Option, Session, drain
from cgcli.program.source import encode
from cgcli.sandbox import bubblewrap
from cgcli.sandbox.pick import Picker, PickRule, check_expressions, output_votes, summary
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.run import run
from cgcli.sandbox.verdict import Verdict
from tests.program.fake import ScriptedEngine

HOST = Policy(unsafe=True)  # what is picked does not depend on how it is run
SQUARE = "def f(x):\n    return x * x\n"
POWER = "def f(x):\n    return x ** 2\n"
TWICE = "def f(x):\n    return x + x\n"
PROMPT = "a function f that squares a number"


class Picking:
    """A turn with these candidates, the first one the most probable, and the texts of the model's assertions."""

    def __init__(
        self,
        rule: PickRule,
        candidates: Sequence[str],
        *,
        asserted: str = "3) == 9\n",
        likes: dict[bytes, float] | None = None,
        prompt: str | None = PROMPT,
        program: Program | None = None,
        **how: object,
    ) -> None:
        language = str(how.pop("language", "python"))
        self.engine = ScriptedEngine([*candidates, *[asserted] * 16])
        self.engine.likes = likes or {}
        self.notes: list[str] = []
        self.ran: list[str] = []
        defaults = {"policy": HOST, "run": self._run, "note": self.notes.append}
        self.picker = Picker(rule=rule, **{**defaults, **how})  # type: ignore[arg-type]
        generation = Generation(Sampling(seed=5), candidates=len(candidates))
        self.session = Session(self.engine, program or Program(), generation, language=language, prefer=self.picker)  # type: ignore[arg-type]
        self.turn = drain(self.session.add(prompt))

    def _run(self, program: Program, policy: Policy, checks: Sequence[str]) -> Verdict:
        self.ran.append(program.turns[-1].completion)
        return run(encode(program.source()), checks=checks, policy=policy)

    @property
    def index(self) -> int | None:
        return self.turn.accepted

    @property
    def rule(self) -> str:
        return self.turn.picked.rule if self.turn.picked else ""


class TestTests:
    def test_the_largest_group_wins_whatever_the_model_expects(self) -> None:
        picking = Picking("tests", [TWICE, SQUARE, POWER], asserted="3) == 6\nassert f(2) == 4\nassert f(x) == 1\n")
        assert picking.index in (1, 2)
        picked = picking.turn.picked
        assert picked and picked.rule == "tests" and (picked.function, picked.calls) == ("f", 2)
        assert [one.candidates for one in picked.groups] == [(1, 2), (0,)]
        assert [one.example for one in picked.groups] == ["f(3) → 9", "f(3) → 6"]
        assert picked.why == "2 agree on 2 calls of f"

    def test_the_most_probable_of_the_group_wins(self) -> None:
        """As a whole: token by token, the long one is more probable."""
        long = "def f(x):\n    squared = x * x\n    return squared\n"
        assert Picking("tests", [TWICE, SQUARE, POWER]).index == 1
        picking = Picking("tests", [TWICE, long, POWER])
        assert picking.index == 2 and not picking.engine.reviewed
        _, one, other = picking.turn.candidates
        assert one.mean_logprob > other.mean_logprob and one.logprob < other.logprob  # type: ignore[operator]

    def test_the_prompt_is_codets_and_drawn_aside(self) -> None:
        engine = Picking("tests", [TWICE, SQUARE, POWER]).engine
        asked = engine.requests[3]
        assert asked.context == (
            b"# a function f that squares a number\ndef f(x):\n    pass\n\n# check the correctness of f\nassert f("
        )
        assert {request.context for request in engine.requests[3:]} == {asked.context}
        assert [request.candidate for request in engine.requests[3:]] == list(range(16))
        assert {request.turn for request in engine.requests[3:]} == {1 << 31} and asked.sampling.seed == 5
        assert len(engine.asides) == 1

    def test_only_errors_and_none_are_no_group(self) -> None:
        broken = ["def f(x):\n    return x.y\n", "def f(x):\n    return x[0]\n", "def f(x):\n    x * 2\n"]
        picking = Picking("tests", [*broken, SQUARE])
        assert picking.index == 3 and picking.turn.picked
        assert picking.turn.picked.why == "the only one that returns a value for 1 call of f"
        picking = Picking("tests", broken)
        assert picking.index == 0 and picking.rule == "probable" and not picking.turn.picked.groups  # type: ignore[union-attr]
        assert picking.notes == ["no candidate returns a value for 1 call of f"]

    def test_a_program_that_fails_has_no_vote(self) -> None:
        failing = SQUARE + "1 / 0\n"
        picking = Picking("tests", [failing, POWER + "1 / 0\n", TWICE])
        assert picking.index == 2 and [one.candidates for one in picking.turn.picked.groups] == [(2,)]  # type: ignore[union-attr]

    def test_without_a_function_the_output_votes_and_that_is_said(self) -> None:
        picking = Picking("tests", ["print(1)", "print(2)", "print(1 + 1)"], prompt="print two")
        assert picking.index in (1, 2) and picking.rule == "run"
        assert picking.notes[0] == "the candidates define no function with parameters, so their output is compared"
        assert picking.turn.picked and picking.turn.picked.why == "2 print the same"
        assert picking.turn.picked.groups[0].example == "2"

    def test_without_a_usable_call_the_most_probable_is_taken(self) -> None:
        picking = Picking("tests", [TWICE, SQUARE], asserted="x) == y\n")
        assert picking.index == 0 and picking.rule == "probable"
        assert picking.notes == ["the model wrote no call of f to test"]

    def test_equal_candidates_need_no_test(self) -> None:
        picking = Picking("auto", [SQUARE, SQUARE])
        assert picking.index == 0 and len(picking.engine.requests) == 2 and not picking.engine.reviewed

    def test_what_is_visibly_wrong_has_no_vote(self) -> None:
        unknown = "def f(x):\n    return square(x)\n"
        picking = Picking("tests", [unknown, unknown, SQUARE, "def f(x)\n", "pass\n"])
        assert picking.index == 2
        assert picking.notes == ["4 of 5 candidates are left out: 4 with a visible fault"]

    def test_a_stub_is_sound_where_the_prompt_asks_for_one(self) -> None:
        assert not Picking("auto", ["pass\n", "pass  # x\n"], prompt="a placeholder").notes
        picking = Picking("auto", ["pass\n", "pass  # x\n"], prompt="a function")
        assert picking.notes == ["all candidates have a visible fault"]

    def test_one_that_was_cut_off_is_left_out_where_another_was_not(self) -> None:
        rank = Rank(whole=True, sound=True, parses=True, complete=True)
        options = [
            Option(
                index, Candidate(text, 9, -0.1, "stop"), Program().add(Turn(None, text)), rank._replace(complete=whole)
            )
            for index, (text, whole) in enumerate([(SQUARE, False), ("x = 1", True), ("x = 2", True)])
        ]
        notes: list[str] = []
        session = Session(ScriptedEngine([]), Program(), Generation(Sampling()))  # type: ignore[arg-type]
        picker = Picker(rule="reviewer", policy=HOST, run=lambda *_: pytest.fail("it ran"), note=notes.append)
        assert picker(session, session.plan("x"), options)[0] == 1
        assert notes == ["1 of 3 candidates are left out: 1 cut off"]


class TestRun:
    def test_the_largest_group_wins_and_the_most_probable_in_it(self) -> None:
        candidates = ["print(1)", "print(2)", "print(1 + 1)", "print(4 - 2)", "print(1 / 0)"]
        picking = Picking("run", candidates)
        assert picking.index == 1 and picking.rule == "run"
        assert [one.candidates for one in picking.turn.picked.groups] == [(1, 2, 3), (0,)]  # type: ignore[union-attr]

    def test_silence_has_no_vote(self) -> None:
        assert Picking("run", ["x = 1", "y = 2", "print()", "print(1)"]).index == 3

    def test_failures_come_last(self) -> None:
        assert Picking("run", ["1 / 0", "1 // 0", "x = 3"]).index == 2

    def test_equal_programs_run_once(self) -> None:
        assert Picking("run", ["print(1)"] * 3 + ["print(2)"]).ran == ["print(1)", "print(2)"]

    def test_an_output_cannot_drive_the_terminal(self) -> None:
        picking = Picking("run", ["print('\\x1b[2J' + 'a' * 100)", "x = 1"])
        assert picking.turn.picked and "\x1b" not in picking.turn.picked.groups[0].example
        assert len(picking.turn.picked.groups[0].example) == 60


class TestReviewer:
    def test_the_candidate_that_explains_the_prompt_best(self) -> None:
        picking = Picking("reviewer", [TWICE, SQUARE, POWER], likes={b"x ** 2": -0.5})
        assert picking.index == 2 and picking.rule == "reviewer" and not picking.ran
        assert picking.turn.picked and picking.turn.picked.why == "picked by the reviewer"

    def test_no_comment_tells_it_the_prompt(self) -> None:
        code = f"# {PROMPT}\nx = 1  # {PROMPT}\ny = '# 2'\n"
        assert Picking("reviewer", [code, "x = 2"]).engine.reviewed[0] == f"x = 1\ny = '# 2'\n\n# {PROMPT}\n".encode()

    def test_a_docstring_is_the_prompt_of_a_body(self) -> None:
        program = Program('import re\n\ndef f(x):\n    """Square x.\n\n    Twice.\n    """\n')
        bodies = ["    return x", "    return x * x\n\ndef g(x):\n    return f(f(x))"]  # of which the body alone counts
        engine = Picking("reviewer", bodies, prompt=None, program=program).engine
        assert engine.reviewed[1] == b"import re\n\ndef f(x):\n    return x * x\n\n# Square x.\n#\n#     Twice.\n"

    def test_the_prompt_is_a_comment_of_the_language(self) -> None:
        program = Program(layout=Layout("//"))
        picking = Picking("reviewer", ["int x;", "int y;"], program=program, language="c", likes={b"int y": -0.5})
        assert picking.index == 1 and picking.rule == "reviewer" and not picking.ran
        assert picking.engine.reviewed[0] == f"int x;\n\n// {PROMPT}\n".encode()

    def test_without_a_prompt_that_is_said(self) -> None:
        picking = Picking("reviewer", ["x = 2 + 3", "x = 1"], prompt=None)
        assert picking.rule == "probable"
        assert picking.notes == ["the candidates are not reviewed: there is no prompt, or no room for it"]


class TestAuto:
    def test_a_function_is_tested(self) -> None:
        assert Picking("auto", [TWICE, SQUARE, POWER]).rule == "tests"

    def test_the_body_of_a_function_is_tested(self) -> None:
        program = Program('def f(x):\n    """Square x."""\n')
        bodies = ["    return x + x", "    return x * x", "    return x ** 2"]
        picking = Picking("auto", bodies, prompt=None, program=program)
        assert picking.rule == "tests" and picking.index in (1, 2)
        assert picking.engine.requests[3].context.startswith(b'def f(x):\n    """Square x."""\n    pass\n\n# check')

    def test_a_program_that_prints_is_run(self) -> None:
        assert Picking("auto", ["print(1)", "print(2)", "print(1 + 1)"]).rule == "run"

    def test_of_all_else_the_most_probable_is_taken(self) -> None:
        picking = Picking("auto", ["x = 1", "x = 2"])
        assert picking.index == 0 and picking.rule == "probable" and not picking.engine.reviewed

    def test_without_a_sandbox_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bubblewrap, "_WHERE", "")
        for rule in ("auto", "tests", "run"):
            picking = Picking(rule, [TWICE, SQUARE], policy=Policy())
            assert picking.index == 0 and picking.rule == "probable" and not picking.ran
            assert len(picking.notes) == 1 and picking.notes[0].startswith("the candidates are not run: ")

    def test_in_another_language_too(self) -> None:
        picking = Picking("auto", ["int x;", "int y;"], program=Program(layout=Layout("//")), language="c")
        assert picking.index == 0 and picking.rule == "probable" and not picking.ran

    def test_raw_text_is_not_run(self) -> None:
        picking = Picking("auto", ["print(1)", "print(2)"], program=Program("x", layout=RAW))
        assert picking.index == 0 and picking.rule == "probable" and not picking.ran and not picking.engine.reviewed


class TestChecks:
    def test_they_count_before_the_rule(self) -> None:
        for rule in ("auto", "tests", "run", "reviewer", "probable"):
            picking = Picking(rule, [TWICE, SQUARE, TWICE + "\n"], checks=("f(3) == 9",))
            assert picking.index == 1

    def test_among_those_that_pass_as_many_the_rule_decides(self) -> None:
        other = "def f(x):\n    return 9\n"
        picking = Picking("tests", [TWICE, other, SQUARE, POWER], asserted="5) == 0", checks=("f(3) == 9",))
        assert picking.index in (2, 3) and picking.rule == "tests"
        assert [one.candidates for one in picking.turn.picked.groups] == [(2, 3), (1,)]  # type: ignore[union-attr]
        assert picking.picker.verdicts[0].detail == "check f(3) == 9 failed"

    @pytest.mark.parametrize("check", ["f(2) = 4", "import os", "f(", "x\0"])
    def test_a_check_is_an_expression(self, check: str) -> None:
        with pytest.raises(UsageError, match="not a Python expression"):
            check_expressions([check])


class TestCtrlC:
    def test_it_ends_the_picking_and_keeps_the_best(self) -> None:
        for rule in ("tests", "run"):
            picking = Picking(rule, ["def f(x)\n", TWICE, SQUARE], interrupted=lambda: True)
            assert picking.index == 1 and picking.turn.interrupted
            assert picking.notes[-1] == "interrupted while picking: took the best candidate so far"

    def test_nothing_is_tested_after_it(self) -> None:
        engine = ScriptedEngine([TWICE, SQUARE], interrupt_after=3)
        how = Generation(Sampling(), candidates=2)
        picker = Picker(rule="auto", policy=HOST, run=lambda *_: pytest.fail("it ran"), note=pytest.fail)
        turn = drain(Session(engine, Program(), how, prefer=picker).add(PROMPT))  # type: ignore[arg-type]
        assert turn.interrupted and turn.picked is None


def test_later_turns_are_drawn_as_without_picking() -> None:
    def second(rule: PickRule | None) -> object:
        picking = Picking(rule or "probable", [SQUARE, POWER], likes={b"x * x": -0.1})
        engine, session = picking.engine, picking.session
        engine.texts = ["x = 1", "x = 2"]
        engine.requests = []
        session.prefer = None
        drain(session.add("next"))
        return [replace(one, cutter=Stops) for one in engine.requests]

    assert second("tests") == second("probable")


WHOLE = Rank(whole=True, sound=True, parses=True, complete=True)


def test_the_order_of_the_criteria() -> None:
    last = WHOLE._replace(logprob=-0.1)
    for field in ("whole", "sound", "parses", "complete"):
        worse = last._replace(**{field: False}, ran=True, held=9, votes=9, review=0.0, logprob=0.0)
        assert worse < WHOLE
    for field, value in (("ran", True), ("held", 1), ("votes", 1), ("review", -3.0), ("logprob", -0.05)):
        better = last._replace(**{field: value})  # type: ignore[arg-type]
        assert last < better and (field == "logprob" or last._replace(logprob=0.0) < better)


def test_a_candidate_is_ranked_by_its_text() -> None:
    def of(text: str, reason: str = "stop", *, before: Program | None = None, language: str = "python") -> Rank:
        candidate = Candidate(text, 3, -0.5, reason)  # type: ignore[arg-type]
        return Rank.of(candidate, before or Program(), "x", language=language)

    assert of("x = 1") == WHOLE._replace(logprob=-1.5)
    assert not of("x = y").sound and of("x = y", before=Program("y = 1\n")).sound and of("x = y", language="c").sound
    assert of("x = y", before=Program(layout=RAW)).sound
    assert not of("x = (").parses and of("x = (", language="c").parses
    assert not of("x = 1", "length").complete and not of("x = 1", "interrupted").whole


def test_votes_and_their_summary() -> None:
    def verdict(source: bytes) -> Verdict:
        return run(source, policy=HOST)

    verdicts = [verdict(source) for source in (b"print(1)", b"print(2 - 1)", b"x = 1", b"print(1); 1 / 0")]
    assert output_votes(verdicts) == [2, 2, 0, 0]
    assert summary(verdicts) == "3 of 4 ran; 2 printed the same output"
    assert summary(verdicts[2:]) == "1 of 2 ran; none printed anything, so running them tested nothing"


def test_what_was_picked_stays_with_its_turn() -> None:
    picked = Picking("tests", [TWICE, SQUARE, POWER]).turn.picked
    assert picked and [one.candidates for one in picked.shifted(2).groups] == [(3, 4), (2,)]
    assert picked.group(1) == picked.groups[0] and picked.group(7) is None
