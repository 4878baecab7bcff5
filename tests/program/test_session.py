"""A session's steps with a scripted engine; with the bundled model, the tokens that are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Self, cast

import pytest

from cgcli.core.config import Settings
from cgcli.core.errors import ContextError, Interrupted
from cgcli.core.progress import Progress, Silent, Unit
from cgcli.engine.engine import LlamaEngine
from cgcli.engine.request import TokenScore
from cgcli.native.sample import Sampling
from cgcli.program.generation import Generation
from cgcli.program.program import RAW, Candidate, Program
from cgcli.program.session import Reading, Session
from cgcli.program.source import digest
from cgcli.program.truncate import CODEGEN
from tests.program.fake import ScriptedEngine
from tests.support.draining import drain
from tests.support.engines import MakeEngine

HOW = Generation(Sampling(seed=7), rules=CODEGEN, max_tokens=20)


def session(engine: ScriptedEngine, prefix: str = "", how: Generation = HOW) -> Session:
    return Session(cast(LlamaEngine, engine), Program(prefix), how, model="scripted")


def test_a_plan_is_what_the_model_reads_and_reads_nothing() -> None:
    engine = ScriptedEngine(["x = 1"])
    one = session(engine, "import os\n")
    plan = one.plan("first")
    assert plan.context == b"import os\n\n# first\n"
    assert (plan.tokens, plan.window, plan.fold) == (len(plan.context), engine.window, None)
    assert engine.timings.prefill_tokens == 0 and not engine.requests


def test_a_reading_scores_the_prompt_alone_and_draws_nothing() -> None:
    engine = ScriptedEngine([])
    reading = session(engine, "import os\n").read(session(engine, "import os\n").plan("ab", keep="x = 1\n"))
    assert b"".join(score.piece for score in reading.scores) == b"\n# ab\n"
    assert reading.prompt_tokens == reading.read == len("\n# ab\n")
    assert reading.perplexity == pytest.approx(2.718281828) and reading.seconds >= 0
    without = session(engine, "x").read(session(engine, "x").plan(None))
    assert (without.scores, without.perplexity) == ((), None)


def test_a_drawn_turn_has_its_facts_and_is_not_added() -> None:
    engine = ScriptedEngine(["x = 1\n\n\n# more"])
    one = session(engine, "import os\n")
    text, turn = drain(one.draw(one.read(one.plan("first"))))
    assert "".join(text) == turn.completion == "x = 1"
    assert one.program.turns == ()
    facts = turn.facts
    assert facts and (facts.model, facts.quant, facts.seed, facts.max_tokens) == ("scripted", "q8_0", 7, 20)
    assert facts.context == digest("import os\n\n# first\n") and facts.folded == 0
    program = one.program.add(turn)
    assert program.stale() == () and replace(program, prefix="import re\n").stale() == (0,)


def test_candidates_count_from_the_first_draw_that_is_asked_for() -> None:
    engine = ScriptedEngine(["# no", "a = 1", "b", "c", "d"])
    one = session(engine)
    reading = one.read(one.plan("p"))
    _, turn = drain(one.draw(reading, first=3))
    assert [candidate.draw for candidate in turn.candidates] == [3, 4] and turn.accepted == 1
    one.generation = replace(HOW, candidates=3)
    _, turn = drain(one.draw(reading, first=5))
    assert [request.candidate for request in engine.requests] == [3, 4, 5, 6, 7]
    assert [candidate.draw for candidate in turn.candidates] == [5, 6, 7] and turn.completion == "b"


def test_an_earlier_turn_is_drawn_in_its_own_place() -> None:
    engine = ScriptedEngine(["a = 1", "b = 2", "a = 3"])
    one = session(engine)
    for prompt in ("first", "second"):
        drain(one.add(prompt))
    whole = one.program
    one.program = whole.until(0)
    _, turn = drain(one.draw(one.read(one.plan("first")), first=1))
    assert (engine.requests[-1].turn, engine.requests[-1].candidate) == (0, 1)
    assert engine.requests[-1].context == b"# first\n"
    changed = whole.put(0, turn)
    assert changed.source() == "# first\na = 3\n\n# second\nb = 2\n" and changed.stale() == (1,)


@pytest.mark.parametrize("width", [1, 2, 50])
@pytest.mark.parametrize(
    ("keep", "comes", "new", "whole"),
    [
        ("def f():\n", "    return 1\ndef g():\n", "    return 1", "def f():\n    return 1"),
        ("x = ", "# five\n# cut", "# five", "x = # five"),
        ("x = 1\nde", "f f():\n  y\ndef g", "f f():\n  y", "x = 1\ndef f():\n  y"),
        ("x = 1\n", "def f():\n  y\ndef g", "def f():\n  y", "x = 1\ndef f():\n  y"),
        ("# mine\nx = 1\n", "y = 2\n# cut", "y = 2", "# mine\nx = 1\ny = 2"),
        ("x = 1\n\n", "\ny = 2", "", "x = 1"),
    ],
)
def test_the_kept_beginning_of_a_completion_counts_and_is_not_streamed_again(
    width: int, keep: str, comes: str, new: str, whole: str
) -> None:
    engine = ScriptedEngine([comes], width=width)
    one = session(engine, how=replace(HOW, redraws=0))
    said, turn = drain(one.draw(one.read(one.plan("p", keep=keep))))
    assert engine.requests[0].context.decode() == "# p\n" + keep
    assert "".join(said) == new
    assert turn.candidates[0].text == whole
    assert turn.accepted == (0 if new else None) and turn.candidates[0].finish_reason != "interrupted"
    assert turn.facts and turn.facts.context == digest("# p\n")


def test_of_several_candidates_only_what_is_new_is_said() -> None:
    one = session(ScriptedEngine(["y = 2", "z = 3"]), how=replace(HOW, candidates=2))
    said, turn = drain(one.draw(one.read(one.plan("p", keep="x = 1\n"))))
    assert "".join(said) == "y = 2"
    assert [candidate.text for candidate in turn.candidates] == [
        "x = 1\ny = 2",
        "x = 1\nz = 3",
    ]


def test_a_drawing_that_is_closed_leaves_nothing_open() -> None:
    engine = ScriptedEngine(["abcdef", "x = 1"])
    one = session(engine)
    reading = one.read(one.plan("p"))
    pieces = one.draw(reading)
    assert next(pieces) == "abc" and engine.open == 1
    pieces.close()
    assert engine.open == 0 and one.program.turns == ()
    assert "".join(drain(one.draw(reading))[0]) == "x = 1"


LONG = "def f(x):\n" + "".join(f"    x += {n}  # step\n" for n in range(12)) + "    return x\n"


def test_a_program_that_is_too_long_is_folded_for_the_model_alone() -> None:
    engine = ScriptedEngine(["y = 1", "z = 2"], window=200)
    one = session(engine, LONG)
    plan = one.plan("go")
    assert plan.fold and plan.fold.parts == ("prefix: comments", "prefix: body of f (13 lines)")
    assert plan.context == b"def f(x):\n    ...\n\n# go\n" and plan.tokens == len(plan.context)
    assert plan.fold.reread == len("def f(x):\n    ...\n")
    _, turn = drain(one.draw(one.read(plan)))
    assert turn.facts and turn.facts.folded == plan.fold.saved == len(LONG) - len("def f(x):\n    ...\n")
    assert turn.facts.context == digest(LONG + "\n# go\n")
    one.program = plan.program.add(turn)
    assert one.program.source() == LONG + "\n# go\ny = 1\n"
    again = one.plan("on")
    assert again.fold and again.fold.reread == len("\n")


def test_without_folding_a_program_that_is_too_long_is_refused() -> None:
    one = session(ScriptedEngine([], window=200), LONG)
    one.fold = False
    with pytest.raises(ContextError, match="200"):
        one.plan("go")
    one.fold = True
    one.program = Program(LONG + "x = 1\n", layout=RAW)
    with pytest.raises(ContextError, match="200"):
        one.plan(None)


@pytest.fixture
def engine(make_engine: MakeEngine, bundled_model: Path) -> LlamaEngine:
    return make_engine(bundled_model)


TASKS = ("read numbers from a list", "print the largest", "print their sum", "sort them", "count the even ones",
         "print the mean", "square each", "print the squares", "reverse the list", "print the longest run")  # fmt: skip


def test_on_turn_10_only_the_new_prompt_is_decoded(engine: LlamaEngine) -> None:
    """All that is read is the prompt, the token before it (which predicts its first), and what the last one drawn and
    the end of the completion before became: a few line ends."""
    one = Session(engine, Program("import sys\n\n"), Generation(Sampling(seed=3), 12, CODEGEN))
    readings: list[Reading] = []
    for task in TASKS:
        readings.append(one.read(one.plan(task)))
        turn = drain(one.draw(readings[-1]))[1]
        one.program = one.program.add(turn)
    assert len(one.program.turns) == 10 and readings[-1].plan.tokens > 100
    before = engine.timings.prefill_tokens
    assert before == sum(reading.read for reading in readings)
    for number, reading in enumerate(readings[1:], 2):
        assert reading.prompt_tokens <= reading.read <= reading.prompt_tokens + 3, number
    drain(one.draw(readings[-1], first=1))
    assert engine.timings.prefill_tokens == before


def test_a_closed_drawing_leaves_the_engine_as_it_was(engine: LlamaEngine) -> None:
    one = Session(engine, Program("import sys\n\n"), Generation(Sampling(seed=3), 24, CODEGEN))
    reading = one.read(one.plan(TASKS[0]))
    whole, _ = drain(one.draw(reading))
    for pieces in (one.draw(reading), one.draw(reading)):
        next(pieces)
        pieces.close()
    assert not engine.cache.held
    assert drain(one.draw(reading))[0] == whole


def test_of_several_candidates_one_that_parses_stands_before_a_likelier_one_that_does_not() -> None:
    engine = ScriptedEngine(["x = [", "y = 2"])  # the first is the likelier one
    _, turn = drain(session(engine, how=replace(HOW, candidates=2)).add("p"))
    assert turn.completion == "y = 2" and turn.accepted == 1
    other = ScriptedEngine(["x = [", "y = 2"])
    one = session(other, how=replace(HOW, candidates=2))
    one.language = "ruby"
    _, turn = drain(one.add("p"))
    assert turn.completion == "x = ["


def test_candidates_that_ctrl_c_kept_from_beginning_are_none() -> None:
    engine = ScriptedEngine(["x = 1\n"] * 5, width=1, interrupt_after=3)
    _, turn = drain(session(engine, how=replace(HOW, candidates=5)).add("p"))
    assert len(turn.candidates) == 1 and turn.interrupted and turn.completion == "x ="


@pytest.mark.parametrize(
    ("prefix", "kept"), [("import sys\n\n", 0), ("".join(f"value_{n} = {n}\n" for n in range(100)) + "\n", 512)]
)
def test_a_look_changes_no_later_turn(engine: LlamaEngine, prefix: str, kept: int) -> None:
    """To the last bit of the scores; the full passes of a long program need not be read again."""

    def scores(looks: bool) -> tuple[list[float], int]:
        engine.cache.restart()
        one = Session(engine, Program(prefix), Generation(Sampling(temperature=0.8, seed=3), 12, CODEGEN))
        one.engine.reserve(1000)
        found, read = [], 0
        for task in TASKS[:3]:
            if looks:
                with one.scratch():
                    for other in ("do something else", f"{task} twice"):
                        one.read(one.plan(other))
            reading = one.read(one.plan(task))
            read += reading.read
            found += [score.logprob for score in reading.scores]
            turn = drain(one.draw(reading))[1]
            one.program = one.program.add(turn)
        return found, read

    (plain, read), (looked, read_again) = scores(looks=False), scores(looks=True)
    assert looked == plain
    assert read_again == read - kept


def test_an_interrupted_look_forgets_nothing() -> None:
    """Else the next fold would tell a wrong number of tokens that are read again."""

    class Pressed(ScriptedEngine):
        def score(self, text: bytes, start: int, *, progress: Progress | None = None) -> list[TokenScore]:
            if text.endswith(b"stop\n"):
                raise Interrupted
            return super().score(text, start)

    one = session(Pressed(["x = 1\n"]), "import os\n")
    drain(one.add("first"))
    known = one._known
    with pytest.raises(Interrupted), one.scratch():
        one.read(one.plan("other words"))
        assert one._known != known
        one.read(one.plan("stop"))
    assert one._known == known


class Watched(Silent):
    """Progress, and how far it came."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, int | None, list[int]]] = []

    def task(self, label: str, total: int | None, *, unit: Unit = "bytes", done: int = 0) -> Self:
        self.tasks.append((label, total, []))
        return self

    def advance(self, amount: int) -> None:
        self.tasks[-1][2].append(amount)


def test_something_moves_while_a_long_prompt_is_read(engine: LlamaEngine) -> None:
    engine.cache.restart()
    progress = Watched()
    program = Program("".join(f"value_{n} = {n}\n" for n in range(120)))
    one = Session(engine, program, Generation(Sampling(), 4, CODEGEN), progress=progress)
    reading = one.read(one.plan("add them"))
    [(label, total, steps)] = progress.tasks
    assert (label, total, sum(steps)) == ("reading", reading.read, reading.read)
    assert len(steps) > 1
    drain(one.draw(reading))
    one.read(one.plan("multiply them"))
    assert len(progress.tasks) == 1  # the program is known: there is little to read


def test_the_other_candidates_are_hotter_and_the_first_is_the_one_drawn_alone(make_engine: MakeEngine) -> None:
    engine = make_engine(exact=True)

    def drawn(**more: Any) -> tuple[Candidate, ...]:
        how = Generation(Sampling(0.2, seed=3), 24, CODEGEN, redraws=0, **more)
        one = Session(engine, Program("import sys\n\n"), how)
        _, turn = drain(one.draw(one.read(one.plan("print the sum"))))
        return turn.candidates

    (alone,) = drawn()
    first, *others = drawn(candidates=4, others=0.9)
    assert first == alone and first.temperature is None
    assert [one.temperature for one in others] == [0.9] * 3
    assert others != list(drawn(candidates=4)[1:])


def test_what_is_drawn_again_hotter_leaves_hotter_candidates_as_they_are() -> None:
    how = Generation.of(Settings(), None, CODEGEN, candidates=3)
    assert (how.sampling.temperature, how.others) == (0.2, 0.6)
    assert [(at.sampling.temperature, at.others) for at in map(how.at, (0.4, 0.6, 0.8))] == [
        (0.4, 0.6),
        (0.6, None),
        (0.8, None),
    ]
    assert Generation.of(Settings(), None, CODEGEN).others is None, "as an evaluation draws"
    assert Generation.of(Settings(temperature=0.2), None, CODEGEN, candidates=3).others is None


def test_no_room_is_made_for_tokens_that_the_window_has_not() -> None:
    wanted: list[int] = []

    class Reserving(ScriptedEngine):
        def reserve(self, cells: int) -> None:
            wanted.append(cells)

    engine = Reserving(["x = 1"], window=200)
    one = session(engine, how=replace(HOW, max_tokens=10**9))
    one.reserve(["a", "b"])
    one.read(one.plan("a"))
    assert wanted and max(wanted) < 3 * engine.window
