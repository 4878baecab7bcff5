"""Drawing until the program runs: what is drawn again, from where, and which draft stands. All programs really run."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import pytest

from cgcli.core.errors import CgcliError, Interrupted, SandboxError
from cgcli.engine.request import Completion, Request
from cgcli.native.sample import Sampling
from cgcli.program.generation import Generation
from cgcli.program.program import Program, Turn
from cgcli.program.session import Session, drain
from cgcli.program.source import encode
from cgcli.program.truncate import CODEGEN
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.run import run
from cgcli.sandbox.until import Patience, Until
from cgcli.sandbox.verdict import Verdict
from tests.program.fake import ScriptedEngine

END = "\n\n\n"
PATIENCE = Patience()


def on_host(program: Program, policy: Policy, checks: Sequence[str] = ()) -> Verdict:
    return run(encode(program.source()), checks=checks, policy=policy)


class Trial:
    """Turns drawn by an engine that writes the given texts, one a draft."""

    def __init__(
        self,
        *texts: str,
        before: str = "",
        engine: ScriptedEngine | None = None,
        patience: Patience = PATIENCE,
        checks: Sequence[str] = (),
        checked_turns: int = 1,
        temperature: float = 0.2,
        execute: Callable[[Program, Policy, Sequence[str]], Verdict] = on_host,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.engine = engine or ScriptedEngine([])
        self.engine.texts = [text + END for text in texts]
        self.said: list[str] = []
        self.ran: list[str] = []
        self._execute = execute
        generation = Generation(Sampling(temperature=temperature), rules=CODEGEN, redraws=0)
        self.session = Session(self.engine, Program(before), generation)  # type: ignore[arg-type]
        self.until = Until(
            self.session, self._run, Policy(unsafe=True), patience,
            checks=checks, checked_turns=checked_turns, say=self.said.append, clock=clock,
        )  # fmt: skip

    def _run(self, program: Program, policy: Policy, checks: Sequence[str]) -> Verdict:
        self.ran.append(program.source())
        return self._execute(program, policy, checks)

    def draw(self, prompt: str | None = "do it", keep: str = "") -> Turn:
        """Draw a turn and add it; what was yielded is its text."""
        pieces: list[str] = []
        plan = self.session.plan(prompt, keep)
        turn = drain(self.until.draw(self.session.read(plan)), pieces.append)
        assert "".join(pieces) == turn.completion[len(keep) :]
        self.session.program = self.session.program.add(turn)
        return turn

    @property
    def lines(self) -> list[str]:
        return self.said + self.until.ends

    @property
    def contexts(self) -> list[str]:
        return [request.context.decode() for request in self.engine.requests]


def test_a_turn_with_which_the_program_runs_is_drawn_once() -> None:
    trial = Trial("x = 1")
    turn = trial.draw()
    assert (turn.completion, turn.accepted, [one.ran for one in turn.candidates]) == ("x = 1", 0, ["ran"])
    assert trial.lines == ["turn 1 ran, printed nothing"]
    assert trial.until.verdict and trial.until.verdict.passed


def test_a_turn_is_kept_up_to_the_statement_that_failed() -> None:
    trial = Trial("x = 1\n\ny = (x +\n     none)\nz = 3", "y = 2")
    turn = trial.draw()
    assert trial.contexts == ["# do it\n", "# do it\nx = 1\n\n"]
    assert [request.candidate for request in trial.engine.requests] == [0, 1]
    assert turn.completion == "x = 1\n\ny = 2" and turn.accepted == 1
    assert [one.kept for one in turn.candidates] == [0, len("x = 1\n\n")]
    words = "NameError: name 'none' is not defined, line 5"
    assert [one.ran for one in turn.candidates] == [words, "ran"]
    again = f"turn 1: {words}; regenerating it from line 4, try 1 of 4"
    assert trial.lines == [again, "turn 1 ran at try 1, printed nothing"]


def test_where_that_was_tried_the_turn_is_drawn_whole() -> None:
    trial = Trial("x = 1\nno()", "nor()", "x = 2\ny = 3\nno()", "z = 4")
    turn = trial.draw()
    assert [one.rpartition("# do it\n")[2] for one in trial.contexts] == ["", "x = 1\n", "", "x = 2\ny = 3\n"]
    assert turn.completion == "x = 2\ny = 3\nz = 4"


def test_the_statement_that_called_a_function_of_an_earlier_turn_is_drawn_again() -> None:
    trial = Trial("def f(x):\n    return 1 / x", "a = 1\nfor n in (1, 0):\n    f(n)", "f(a)")
    trial.draw()
    assert trial.draw().completion == "a = 1\nf(a)"


def test_a_decorated_function_begins_with_its_decorator() -> None:
    trial = Trial("x = 1\n@no\n@nor\ndef f():\n    pass", "y = 1")
    assert trial.draw().completion == "x = 1\ny = 1"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("x = 1\ny = 2\nz = = 3\nw = 4", "x = 1\ny = 2\n"),
        ("x = 1\nif x:\n    y = 2\nelse:\n    y = = 3", "x = 1\n"),
        ("x = = 1", ""),
        ("x = 1\nreturn x", "x = 1\n"),
        ("def f():\n    return 1\ny = (f(),\nz = 1", "def f():\n    return 1\n"),
    ],
)
def test_what_does_not_parse_is_kept_up_to_the_statement_that_does_not(text: str, kept: str) -> None:
    trial = Trial(text, "end = 1")
    assert trial.draw().completion == f"{kept}end = 1"


@pytest.mark.parametrize(
    ("texts", "best"),
    [
        (["x = 1\nno()", "no()", "nor()", "x = ( ="], 0),
        (["no()", "x = 1\nno()", "x = ( =", "nor()"], 1),
        (["x = = 1", "no()"], 1),
        (["no()", "input()"], 1),
        (["x = 1", "no()"], 0),
        (["x = 1", "input()"], 0),
        (["import os; os._exit(3)", ""], 0),
        (["import os; os._exit(3)", "x = 1\nno()"], 1),
    ],
)
def test_the_best_draft_stands(texts: list[str], best: int) -> None:
    trial = Trial(*texts, patience=Patience(tries=len(texts) - 1))
    turn = trial.draw("print it")
    assert turn.accepted == best
    assert trial.lines[-1].startswith(f"turn 1: kept draft {best + 1} of {len(texts)}, the best: ")
    assert trial.until.verdict and not (trial.until.verdict.passed and best)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = input()", "the program reads input, and there was no more (EOFError: EOF when reading a line, line 2)"),
        ("import nobodys", "the package is not installed (ModuleNotFoundError: No module named 'nobodys', line 2)"),
    ],
)
def test_what_fails_for_want_of_something_is_not_drawn_again(text: str, words: str) -> None:
    trial = Trial(text)
    assert trial.draw().completion == text
    assert trial.lines == [f"turn 1: {words}; another try would not help"]


@pytest.mark.parametrize(
    ("before", "words"),
    [
        ("no()\n", "the program before it fails: NameError: name 'no' is not defined, line 1"),
        ("import os\nos._exit(3)\n", "the program before it fails: exit: status 3"),
        ("x = = 1\n", "the program before it does not parse: SyntaxError: invalid syntax, line 1"),
    ],
)
def test_a_turn_is_not_blamed_for_a_program_that_failed_before_it(before: str, words: str) -> None:
    trial = Trial("nor()", before=before)
    assert trial.draw().completion == "nor()"
    assert trial.lines == [f"turn 1: {words}; another try would not help"]


def test_the_program_before_a_turn_runs_only_if_that_is_needed_and_once() -> None:
    trial = Trial("x = 1\nno()", "y = 2", "import os; os._exit(3)", "import os; os._exit(4)", "z = 3")
    trial.draw()
    assert len(trial.ran) == 2
    trial.draw()
    assert len(trial.ran) == 5, "the program before the turn ran as the last draft of the turn before"


def test_a_turn_that_should_print_must_print_something_new() -> None:
    """It goes on behind what it wrote; where that was tried, it is drawn whole again."""
    trial = Trial(
        "print('one')", "def show():\n    print('two')", "show()", "x = 1", "y = 2", "print(2)", "def f(): pass"
    )
    trial.draw("print one")
    assert trial.draw("and print two").completion == "def show():\n    print('two')\nshow()"
    assert trial.said == ["turn 2: ran, but printed nothing; going on from line 7, try 1 of 4"]
    assert trial.draw("print x").completion == "print(2)"
    assert [context.rpartition("# print x\n")[2] for context in trial.contexts[3:]] == ["", "x = 1\n", ""]
    assert trial.draw("a function that prints it").completion == "def f(): pass"


@pytest.mark.parametrize(
    ("prompt", "asks"),
    [
        ("print it", True),
        ("Sort the list and then print it", True),
        ("sort it. Print the result", True),
        ("now show the mean", True),
        ("a function that prints a list", False),
        ("a function to print a list", False),
        ("define the blueprint", False),
        (None, False),
    ],
)
def test_who_is_asked_to_print(prompt: str | None, asks: bool) -> None:
    trial = Trial("x = 1", "x = 2", patience=Patience(tries=1))
    trial.draw(prompt)
    assert len(trial.engine.requests) == 1 + asks


def test_the_tries_of_all_turns_share_the_seconds() -> None:
    texts = ("no()", "y = 1", "no()", "nor()", "no()")
    trial = Trial(*texts, patience=Patience(seconds=20), clock=lambda: 10.0 * len(trial.engine.requests))
    trial.draw()
    trial.draw()
    assert len(trial.engine.requests) == 4, "one try of each turn"
    trial.session.program = trial.session.program.until(1)
    trial.draw()
    assert len(trial.engine.requests) == 5
    assert trial.lines[-1].endswith(": NameError: name 'no' is not defined, line 5; the time for tries is over")


def test_a_single_run_may_not_take_all_the_time() -> None:
    seen: list[Policy] = []

    def execute(program: Program, policy: Policy, checks: Sequence[str]) -> Verdict:
        seen.append(policy)
        return on_host(program, policy, checks)

    Trial("x = 1", patience=Patience(seconds=8), execute=execute).draw()
    assert (seen[0].cpu_s, seen[0].wall_s) == (2.0, 4.0)


@pytest.mark.parametrize(
    ("temperature", "drawn"), [(0.2, [0.2, 0.4, 0.6]), (0.7, [0.7, 0.8, 0.8]), (0.0, [0.0, 0.2, 0.4]), (1.0, [1.0] * 3)]
)
def test_tries_are_hotter_and_facts_are_those_of_the_first_draw(temperature: float, drawn: list[float]) -> None:
    trial = Trial("no()", "no()", "x = 1", temperature=temperature)
    turn = trial.draw()
    assert [request.sampling.temperature for request in trial.engine.requests] == pytest.approx(drawn)
    others = [one.temperature for one in turn.candidates]
    assert others == pytest.approx([one if one != temperature else None for one in drawn])
    assert turn.facts and turn.facts.temperature == temperature == trial.session.generation.sampling.temperature


class InterruptedEngine(ScriptedEngine):
    """Ctrl-C comes while the second draft is drawn."""

    def stream(self, request: Request) -> Generator[str, None, Completion]:
        self.interrupt_after = 1 if self.requests else None
        return super().stream(request)


def test_ctrl_c_keeps_the_best_so_far() -> None:
    trial = Trial("x = 1\nno()", "y = 2", engine=InterruptedEngine([]))
    turn = trial.draw()
    assert turn.completion == "x = 1\nno()" and turn.accepted == 0
    assert turn.interrupted and isinstance(trial.until.failure, Interrupted)


def test_ctrl_c_in_the_first_draft_keeps_what_was_written() -> None:
    trial = Trial("x = 1\nno()", engine=ScriptedEngine([], interrupt_after=2))
    turn = trial.draw()
    assert turn.completion == "x = 1" and turn.interrupted
    assert not trial.ran and trial.until.failure is None


@pytest.mark.parametrize("error", [SandboxError("no sandbox"), Interrupted()])
def test_what_ends_a_run_ends_the_tries_and_loses_no_turn(error: CgcliError) -> None:
    def execute(program: Program, policy: Policy, checks: Sequence[str]) -> Verdict:
        raise error

    trial = Trial("x = 1", execute=execute)
    assert trial.draw().completion == "x = 1"
    assert trial.until.failure is error
    with pytest.raises(type(error)):
        trial.draw("no more")


def test_a_window_that_is_full_ends_the_tries() -> None:
    trial = Trial("x = 1\ny = 2\nno()", "z = 3", engine=ScriptedEngine([], window=20))
    assert trial.draw().completion == "x = 1\ny = 2\nno()"
    assert trial.until.failure is None and len(trial.engine.requests) == 1


def test_checks_must_pass_after_the_last_turn() -> None:
    texts = ("def f(x):\n    return x", "def g(x):\n    return f(x)", "def g(x):\n    return f(x) + 1")
    trial = Trial(*texts, checks=("g(1) == 2", "f(1) == 1"), checked_turns=2)
    trial.draw()
    assert trial.draw().completion == texts[2]
    assert trial.said == ["turn 2: 1 of 2 checks passed; check g(1) == 2 failed; regenerating it, try 1 of 4"]
    assert trial.until.ends == ["turn 1 ran, printed nothing", "turn 2 passed the checks at try 1"]


def test_the_draft_that_passes_most_checks_stands() -> None:
    texts = ("a = 1", "a = 1; b = 2", "c = 3", "no()")
    trial = Trial(*texts, checks=("a", "b", "c"), patience=Patience(tries=3))
    assert trial.draw().completion == texts[1]


def test_code_that_was_kept_from_the_start_is_kept_by_all_tries() -> None:
    trial = Trial("no()", "nor()", "y = 2")
    turn = trial.draw(keep="x = 1\n")
    assert turn.completion == "x = 1\ny = 2"
    assert all(context.endswith("# do it\nx = 1\n") for context in trial.contexts)


def test_a_text_that_goes_on_inside_a_statement_is_drawn_again_from_its_beginning() -> None:
    trial = Trial("1, 2)\nno()", "x)", "3, 4)", before="x = (")
    turn = trial.draw(None)
    assert turn.completion == "1, 2)\nx)" or turn.completion == "3, 4)"
