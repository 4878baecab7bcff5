"""Guards, with an engine that says what a test wants."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgcli.engine.protocol import Engine
from cgcli.engine.request import Completion, DrawnToken, FinishReason, Request
from cgcli.engine.stops import Stops
from cgcli.native.sample import Sampling
from cgcli.program.generation import Generation
from cgcli.program.guard import TRIES, TRIES_A_LINE, Guard
from cgcli.program.program import Candidate, Program, Turn
from cgcli.program.session import Session, drain
from cgcli.program.truncate import BLANK_LINES, CODEGEN
from tests.program.fake import ScriptedEngine

HOW = Generation(Sampling(temperature=0.2, seed=7), 1000, CODEGEN, guard=True)
BAR = "=" * 200
DEAD = "x = = 1\n"


class Drawn:
    """A turn that was drawn from a script: the texts of its requests."""

    def __init__(
        self,
        texts: Sequence[str],
        *,
        how: Generation = HOW,
        program: str = "import os\n\n",
        prompt: str | None = "p",
        keep: str = "",
        width: int = 3,
        language: str = "python",
        interrupt_after: int | None = None,
        end: FinishReason = "stop",
        window: int = 100_000,
        engine: type[ScriptedEngine] = ScriptedEngine,
    ) -> None:
        script = [*texts, *["pass\n"] * 100]
        self.engine = engine(script, width=width, interrupt_after=interrupt_after, end=end, window=window)
        session = Session(cast(Engine, self.engine), Program(program), how, language=language)
        self.previews: list[str] = []
        session.preview = self.previews.append
        self.said: list[str] = []
        turn: Turn = drain(session.draw(session.read(session.plan(prompt, keep))), self.said.append)
        self.text = turn.completion
        self.candidate: Candidate = turn.candidates[turn.accepted if turn.accepted is not None else -1]
        self.requests = self.engine.requests

    @property
    def cuts(self) -> list[tuple[str, int]]:
        return [(cut.guard, cut.line) for cut in self.candidate.guard.cuts] if self.candidate.guard else []


SOUND = [
    "x = 1\nprint(x)\n",
    "def f(a):\n    if a:\n        return [\n            1,\n        ]\n    return g(a)\n\ndef_ = 2\n",
    "for i in range(3):\n    print(i)\nelse:\n    print('end')\n",
    "try:\n    x = 1\nfinally:\n    pass\n",
    "s = '''\n not a comment\ndef f(:\n '''\n",
    "@property\ndef f(self):\n    return os.path\n",
    "class A:\n    def f(self):\n        return self.g()\n\n    def g(self):\n        return 1\n",
]


@pytest.mark.parametrize("text", SOUND)
@pytest.mark.parametrize("width", [1, 4, 100])
def test_a_sound_text_is_drawn_as_without_guards(text: str, width: int) -> None:
    guarded, plain = (Drawn([text], how=replace(HOW, guard=on), width=width) for on in (True, False))
    plain_text = plain.text
    if "g(a)" in text:  # defined nowhere, so the guard asks for it
        assert guarded.requests[1].context.endswith(b"\n\n\ndef g(")
        return
    assert guarded.text == plain_text and "".join(guarded.said) == plain_text
    assert guarded.candidate == plain.candidate and len(guarded.requests) == 1
    assert guarded.requests[0].context == plain.requests[0].context


CASES = {
    "a bar": (["x = 1\n" + BAR, "y = 2\n"], "x = 1\ny = 2", [("degenerate", 2)]),
    "a bar behind code": (["x = 1  " + "=" * 200, "# y\n"], "x = 1  # y", [("degenerate", 1)]),
    "a line that loops": (["x = 1\n" * 9, "y = 2\n"], "x = 1\ny = 2", [("degenerate", 2)]),
    "lines that loop": (["x = 1\ny = 2\n" * 9, "z = 3\n"], "x = 1\ny = 2\nz = 3", [("degenerate", 3)]),
    "a text that loops twice ends": (["x = 1\n" * 9] * 2, "x = 1", [("degenerate", 2)] * 2),
    "a line that is no Python": (["x = 1\n" + DEAD, "y = 2\n"], "x = 1\ny = 2", [("syntax", 2)]),
    "an earlier line": (["x = [1\ny = 2\nz = 3\n", "x = []\n"], "x = []", [("syntax", 1)]),
    "return outside a function": (["x = 1\nreturn x\n", "print(x)\n"], "x = 1\nprint(x)", [("syntax", 2)]),
    "an end inside a bracket": (["x = 1\ny = [1,", "y = []"], "x = 1\ny = []", [("syntax", 2)]),
    "a function without a body": (["x = 1\ndef f():\n", "y = 2\n"], "x = 1\ny = 2", [("syntax", 2)]),
    "a name at module level": (["x = 1\nprint(y)\nz = 3\n", "print(x)\n"], "x = 1\nprint(x)", [("names", 2)]),
    "a name in a function": (["def f():\n    return y\n", "    return 1\n"], "def f():\n    return 1", [("names", 2)]),
    "nothing": (["", "x = 1\n"], "x = 1", [("empty", 1)]),
    "only pass": (["pass\n", "x = 1\n"], "x = 1", [("empty", 1)]),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("width", [1, 3, 50])
def test_what_is_cut_is_drawn_again(name: str, width: int) -> None:
    texts, text, cuts = CASES[name]
    drawn = Drawn(texts, width=width)
    assert drawn.text == text
    assert "".join(drawn.said).rstrip() == text
    assert cuts is None or drawn.cuts == cuts


IMPORTS = {
    "print(math.pi)\n": "import math\nprint(math.pi)",
    "x = 1\nprint(math.pi)\ny = re.sub('a', 'b', 'c')\n": (
        "x = 1\nimport math\nprint(math.pi)\nimport re\ny = re.sub('a', 'b', 'c')"
    ),
    "def f(x):\n    return Counter(x)\n": "from collections import Counter\ndef f(x):\n    return Counter(x)",
}


@pytest.mark.parametrize("text", IMPORTS)
def test_missing_imports_are_written(text: str) -> None:
    drawn = Drawn([text])
    assert drawn.text == IMPORTS[text] == "".join(drawn.said).rstrip()
    assert len(drawn.requests) == 1 and drawn.candidate.guard and drawn.candidate.guard.imports


def test_an_import_is_written_inside_the_function_that_goes_on() -> None:
    drawn = Drawn(["    x = 1\n    return math.sqrt(x)\n"], program="def f():\n", prompt=None)
    assert drawn.text == "    x = 1\n    import math\n    return math.sqrt(x)"


def test_the_tokens_behind_an_import_count_where_they_are() -> None:
    """The cut behind it drops the tokens of the dead line alone."""
    drawn = Drawn(["x = 1\nprint(math.pi)\n" + DEAD + "z", "y = 2\n"], width=1)
    assert drawn.text == "x = 1\nimport math\nprint(math.pi)\ny = 2"
    assert drawn.candidate.tokens == len("x = 1\nprint(math.pi)\n") + len("y = 2\n") + 1
    # The rules hold a line end back until the next character comes.
    assert drawn.candidate.guard and [cut.tokens for cut in drawn.candidate.guard.cuts] == [len(DEAD) + 1]


def test_a_function_that_is_only_called_is_defined_next() -> None:
    drawn = Drawn(["def f(n):\n    return is_prime(n)\n", "n):\n    return n > 1\n"])
    assert drawn.text == "def f(n):\n    return is_prime(n)\n\n\ndef is_prime(n):\n    return n > 1"
    assert drawn.requests[1].context.endswith(b"return is_prime(n)\n\n\ndef is_prime(")


def test_a_fault_before_a_definition_takes_it_along() -> None:
    texts = ["def f(n):\n    return g(n) + m\n", "n):\n    return n\n", "    return n\n"]
    drawn = Drawn(texts)
    assert drawn.text == "def f(n):\n    return n" and drawn.cuts == [("names", 2)]


def test_the_beginning_of_a_definition_is_not_cut() -> None:
    texts = ["def f():\n    return g()\n", "):: 1\n", "):\n    return 1\n"]
    drawn = Drawn(texts)
    assert drawn.requests[2].context.endswith(b"\n\n\ndef g(")
    assert drawn.text.endswith("\n\n\ndef g():\n    return 1")


def test_notes_have_the_lines_of_the_program() -> None:
    again = Drawn(["x = 1\n" + DEAD, "y = 2\n"]).candidate.guard
    ended = Drawn(["x = 1\ndef f():\n    return [1,\n"], end="length").candidate.guard
    assert again and "regenerated line 5: invalid syntax" in again.notes(4)[0]
    assert ended and ended.notes(4) == ["ended after line 4, the last that is whole"]


def test_after_two_definitions_the_line_is_dead() -> None:
    texts = ["def f():\n    return g()\n", "):\n    return h()\n", "):\n    return i()\n", "    return 1\n"]
    drawn = Drawn(texts)
    assert drawn.cuts == [("names", 10)]
    assert drawn.text.endswith("def h():\n    return 1")


def test_each_try_is_hotter_and_numbers_its_draws_on() -> None:
    drawn = Drawn(["x = 1\n" + DEAD + "z", *[DEAD + "z"] * 3, "y = 2\n"], width=1)
    first, *others = drawn.requests
    assert first.first_line is None and first.first_draw == 0
    lines = [one.first_line for one in others]
    assert [line.sampling.temperature for line in lines if line] == [0.4, pytest.approx(0.6)] + [pytest.approx(0.6)] * 2
    assert [sorted(line.avoid) for line in lines if line] == [[], [], [ord("x")], [ord("x")]]
    assert [one.first_draw for one in others] == [15, 24, 33, 42]
    assert all(one.context.endswith(b"# p\nx = 1\n") and one.continues_code for one in others)
    assert {one.sampling.temperature for one in drawn.requests} == {0.2}


def test_a_context_is_scored_once() -> None:
    first = Request(b"# p\n", HOW.sampling, Stops, score_from=0)
    guard = Guard(cast(Engine, ScriptedEngine([])), HOW, first, "")
    again = guard.follow(next(iter(ScriptedEngine(["x = 1\n" + DEAD]).complete([guard.request])))[1])
    assert guard.request.score_from == 0 and again and again.score_from is None


@pytest.mark.parametrize(("cold", "tries"), [(0.0, [0.4, 0.6]), (0.5, [0.7, 0.8]), (1.2, [1.2, 1.2])])
def test_the_temperature_of_a_try(cold: float, tries: list[float]) -> None:
    drawn = Drawn([DEAD, DEAD, "y = 2\n"], how=replace(HOW, sampling=Sampling(temperature=cold)))
    lines = [one.first_line for one in drawn.requests[1:]]
    assert [line.sampling.temperature for line in lines if line] == pytest.approx(tries)


def test_a_line_whose_tries_are_spent_stands_and_is_named() -> None:
    drawn = Drawn(["x = 1\n" + DEAD] + [DEAD] * TRIES_A_LINE + ["y = = 2\nz = 3\n"])
    assert drawn.text == "x = 1\nx = = 1\ny = = 2\nz = 3"  # from then on nothing is judged
    assert len(drawn.requests) == TRIES_A_LINE + 2
    assert drawn.candidate.guard and drawn.candidate.guard.standing == "invalid syntax"
    assert any("a fault is left after 8 tries: invalid syntax" in note for note in drawn.candidate.guard.notes())


def test_a_completion_has_only_so_many_tries() -> None:
    texts = []
    for line in range(TRIES):
        texts += [DEAD, f"x_{line} = 1\n" + DEAD]
    drawn = Drawn(texts[1:])
    assert len(drawn.requests) == TRIES + 2 and drawn.candidate.guard and drawn.candidate.guard.standing


def test_max_tokens_counts_what_stands_and_twice_as_much_is_drawn() -> None:
    drawn = Drawn(["x = 1\n" + DEAD, "y = 2\n"], how=replace(HOW, max_tokens=30), width=1)
    assert [one.max_tokens for one in drawn.requests] == [30, 24]
    endless = Drawn([DEAD] * 20, how=replace(HOW, max_tokens=20, redraws=0), width=1)
    assert sum(min(one.max_tokens, len(DEAD)) for one in endless.requests) <= 40
    assert endless.text == DEAD.rstrip() and endless.candidate.finish_reason == "length"  # better than nothing
    assert endless.candidate.guard and endless.candidate.guard.standing == "invalid syntax"
    few = replace(HOW, max_tokens=20, redraws=0)
    begun = Drawn(["def f():\n    x = = 1\n"] + ["    x = = 1\n"] * 20, how=few, width=1)
    assert begun.text == "def f():\n    x = = 1" and begun.candidate.guard and begun.candidate.guard.standing
    some = Drawn(["x = 1\n" + DEAD] + [DEAD] * 20, how=few, width=1)
    assert some.text == "x = 1" and some.candidate.guard and not some.candidate.guard.standing


def test_a_text_that_is_cut_off_ends_with_a_whole_statement() -> None:
    drawn = Drawn(["x = 1\ndef f():\n    return [1,\n"], end="length")
    assert drawn.candidate.finish_reason == "length"
    assert drawn.text == "x = 1" and drawn.cuts == [("end", 2)]


def test_a_name_is_judged_also_where_the_text_is_cut_off() -> None:
    """There are tokens left for another try, since the dead line's do not count."""
    drawn = Drawn(["with open(x) as file:\n    file.read()\ny = [", "x = 1\n"], end="length")
    assert drawn.text == "x = 1" and drawn.cuts == [("end", 3), ("names", 1)]


def test_a_text_that_is_cut_off_in_its_only_line_is_drawn_again() -> None:
    drawn = Drawn(["x = [1, 2,", "y = 2\n"], end="length")
    assert drawn.text == "y = 2" and drawn.cuts == [("syntax", 1)]


def test_ctrl_c_keeps_what_was_drawn() -> None:
    drawn = Drawn(["x = 1\ndef f():\n    return [1,\n"], interrupt_after=7)
    assert drawn.text == "x = 1\ndef f():\n    re" and drawn.candidate.finish_reason == "interrupted"


def test_a_stub_that_is_asked_for_stands() -> None:
    assert Drawn(["pass\n"], prompt="a placeholder for later").text == "pass"
    assert Drawn(["pass\n"], prompt="later").text == ""


def test_what_is_kept_is_never_drawn_again() -> None:
    drawn = Drawn(["lt = = 2\n", "lt = 2\n"], keep="x = 1\nresu")
    assert drawn.text == "x = 1\nresult = 2"
    assert drawn.requests[1].context == drawn.requests[0].context


@pytest.mark.parametrize("keep", ["print(nowhere)\n", "def f(:\n", "return 1\n"])
def test_faults_of_what_is_kept_are_not_those_of_what_follows(keep: str) -> None:
    assert len(Drawn(["x = 1\n"], keep=keep).requests) == 1


@pytest.mark.parametrize("program", ["def f(:\n\n", "x = (\n\n", "print(nowhere)\n\n", "from os import *\n\n"])
def test_faults_of_the_program_are_not_those_of_the_turn(program: str) -> None:
    drawn = Drawn(["x = 1\n"], program=program)
    assert drawn.text == "x = 1" and len(drawn.requests) == 1


@pytest.mark.parametrize(
    "text",
    [
        "x = 1\r\nif x:\r\n\tprint(x)\r\n",
        "s = '\udc80'\n",
        "x = " + "(" * 300 + "\n",
        "x = " + "9" * 5000 + "\n",
    ],
)
def test_a_text_that_python_cannot_judge_is_no_fault(text: str) -> None:
    drawn = Drawn([text, "y = 1\n"])
    assert len(drawn.requests) <= 2


def test_a_stop_string_ends_it_also_after_a_cut() -> None:
    drawn = Drawn(["x = 1\n" + DEAD, "y = 2\nEND"], how=replace(HOW, stops=("END",)))
    assert drawn.text == "x = 1\ny = 2"


def test_other_languages_are_only_kept_from_loops() -> None:
    how = replace(HOW, rules=BLANK_LINES)
    drawn = Drawn(["int x = = 1;\n" + "/" * 200, "int y;\n"], how=how, language="c")
    assert drawn.text == "int x = = 1;\nint y;" and drawn.cuts == [("degenerate", 2)]


def test_the_rules_go_on_behind_a_cut() -> None:
    """The second `print` at column 0 ends a completion, wherever the first was drawn."""
    drawn = Drawn(["print(1)\n" + DEAD, "x = 2\nprint(x)\n"])
    assert drawn.text == "print(1)\nx = 2"


def test_previews_show_what_is_held() -> None:
    drawn = Drawn(["def f():\n    return 1\n\nx = 1\n"], width=4)
    assert "def f():\n    return" in drawn.previews and drawn.previews[-1] == ""
    assert drawn.said[0].startswith("def f():\n    return 1")  # not before it was whole


def test_statements_leave_when_they_are_whole() -> None:
    """A simple one with its line, a compound one when the next has begun; one with an open name at the end."""
    text = "x = 1\nfor i in range(x):\n    print(i)\ny = 2\ndef f():\n    return g\nz = 3\ng = 1\n"
    said = Drawn([text], width=1).said
    lengths = {len("".join(said[: n + 1])) for n in range(len(said))}
    assert lengths == {len("x = 1"), text.index("\ndef"), len(text) - 1}


LINES = [
    "x = 1\n",
    DEAD,
    "def f():\n",
    "    return y\n",
    "    return 1\n",
    "print(math.pi)\n",
    "#" * 120,
    "z = [\n",
    "]\n",
]


@settings(max_examples=40)
@given(st.lists(st.lists(st.sampled_from(LINES), min_size=1, max_size=6), min_size=1, max_size=12), st.integers(1, 9))
def test_what_has_left_is_never_taken_back(scripts: list[list[str]], width: int) -> None:
    drawn = Drawn(["".join(lines) for lines in scripts], width=width)
    assert "".join(drawn.said) == drawn.text or drawn.candidate.finish_reason == "empty"
    if drawn.candidate.finish_reason != "empty" and not (drawn.candidate.guard and drawn.candidate.guard.standing):
        compile(drawn.text, "text", "exec")


@settings(max_examples=40)
@given(st.lists(st.lists(st.sampled_from(LINES), min_size=1, max_size=6), min_size=1, max_size=6), st.integers(1, 9))
def test_the_text_does_not_depend_on_how_it_is_split(scripts: list[list[str]], width: int) -> None:
    texts = ["".join(lines) for lines in scripts]
    assert Drawn(texts, width=width).text == Drawn(texts, width=1).text


def test_a_definition_that_has_no_room_is_not_begun() -> None:
    drawn = Drawn(["def f():\n    return g()\n"], window=len("import os\n\n# p\ndef f():\n    return g()\n"))
    assert drawn.text == "def f():\n    return g()" and drawn.candidate.finish_reason == "context"


def test_a_folded_program_is_judged_as_it_is() -> None:
    """The model does not read the body that defines `deep`; nothing is missing all the same."""
    program = "def f(x):\n    global deep\n    deep = x\n" + "".join(f"    y = {n}\n" for n in range(60)) + "\n"
    drawn = Drawn(["print(deep)\n" + DEAD, "f(1)\n"], program=program, window=len(program) - 100)
    assert drawn.text == "print(deep)\nf(1)" and drawn.cuts == [("syntax", 2)]
    assert drawn.requests[1].context.endswith(b"# p\nprint(deep)\n")
    assert all(len(one.context) < len(program) for one in drawn.requests)


def test_a_character_of_several_tokens_is_banned_by_its_first() -> None:
    """Each byte is a token: the trace says so, whatever the text is split into."""

    class Bytes(ScriptedEngine):
        def stream(self, request: Request) -> Generator[str, None, Completion]:
            done = yield from super().stream(request)
            tokens = []
            for seen, character in enumerate(self.last[: done.trace[-1].end if done.trace else 0]):
                *early, last = character.encode()
                tokens += [DrawnToken(byte, seen, -1.0) for byte in early] + [DrawnToken(last, seen + 1, -1.0)]
            return replace(done, trace=tuple(tokens), tokens=len(tokens))

    drawn = Drawn(["é = = 1\nz", "é = = 1\nz", "é = = 1\nz", "y = 2\n"], width=1, engine=Bytes)
    third = drawn.requests[3].first_line
    assert third and third.avoid == {0xC3}


def test_candidates_drawn_together_are_guarded_each() -> None:
    engine = ScriptedEngine(["a = 1\n" + DEAD, "a = 2\n", "b = 1\n"])
    session = Session(cast(Engine, engine), Program("import os\n\n"), replace(HOW, candidates=2))
    turn = drain(session.draw(session.read(session.plan("p"))))
    assert [one.text for one in turn.candidates] == ["a = 1\na = 2", "b = 1"]
    assert [one.guard is None for one in turn.candidates] == [False, True]
    assert [one.candidate for one in engine.requests] == [0, 0, 1]
