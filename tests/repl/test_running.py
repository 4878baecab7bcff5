"""Programs that ask for what is typed, in a real (pseudo-)terminal with the REPL as a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.support.process import CGCLI
from tests.support.pseudo_terminal import PseudoTerminal, pseudo_terminal

Start = Callable[..., AbstractContextManager[PseudoTerminal]]


@pytest.fixture
def start(tmp_path: Path, tiny_model: Path) -> Start:
    """The REPL with a program, at its prompt."""

    @contextmanager
    def started(program: str, prompt: str = "1 ›", term: str = "xterm-256color") -> Iterator[PseudoTerminal]:
        file = tmp_path / "x.py"
        file.write_text(program)
        command = [*CGCLI, "repl", "-m", str(tiny_model), "--unsafe", str(file)]
        with pseudo_terminal(*command, rows=60, CGCLI_HOME=str(tmp_path), TERM=term) as terminal:
            terminal.wait_for(prompt)
            yield terminal

    return started


@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
def test_a_running_program_gets_what_is_typed(start: Start, term: str) -> None:
    prompt = "1 >" if term == "dumb" else "1 ›"
    with start("name = input('who? ')\nprint('hello', name, input())\n", prompt, term) as terminal:
        terminal.send("/run\r")
        terminal.wait(lambda: terminal.line == "who?")
        terminal.send("Adx\x7fa\r")
        terminal.wait(lambda: terminal.line == "" and "who? Ada" in terminal.text)
        terminal.send("and Bob\r")
        terminal.wait_for("ran in")
        terminal.wait(lambda: terminal.line.startswith(prompt))
        rows = terminal.rows[terminal.rows.index("who? Ada") :]
        assert rows[:3] == ["who? Ada", "and Bob", "hello Ada and Bob"] and rows[3].startswith("ran in")
        terminal.send("/quit\r")
        terminal.wait(lambda: not terminal.process.isalive())


def test_a_program_that_is_silent_for_long_is_said_to_run(start: Start) -> None:
    with start("input()\n") as terminal:
        terminal.send("/run\r")
        terminal.wait_for("still running; what you type is its input, Ctrl-C stops it")
        terminal.send("\r")
        terminal.wait_for("ran in")
        assert terminal.text.count("still running") == 1


def test_ctrl_d_ends_the_programs_input_and_not_the_session(start: Start) -> None:
    with start("import sys\nprint('reading', flush=True)\nprint(sys.stdin.read().split())\n") as terminal:
        terminal.send("/run\r")
        terminal.wait_for("\nreading")
        terminal.send("one\r")
        terminal.send("two\r\x04")
        terminal.wait_for("['one', 'two']")
        terminal.wait(lambda: terminal.line.startswith("1 ›"))
        terminal.send("words")
        terminal.wait(lambda: terminal.line == "1 › words")


def test_ctrl_c_ends_a_program_that_waits(start: Start) -> None:
    with start("input('who? ')\n") as terminal:
        terminal.send("/run\r")
        terminal.wait(lambda: terminal.line == "who?")
        terminal.send("half")
        terminal.wait(lambda: terminal.line == "who? half")
        terminal.send("\x03")
        terminal.wait_for("\ncgcli: stopped the program after")
        terminal.wait(lambda: terminal.line.startswith("1 ›"))
        assert "half" not in terminal.line and "\n\ncgcli" not in terminal.text


def test_what_a_program_does_not_read_is_typed_for_the_next_prompt(start: Start) -> None:
    program = "print('reading', flush=True)\nprint('read', input(), flush=True)\n"
    with start(program) as terminal:
        terminal.send("/run\r")
        terminal.wait_for("\nreading")
        terminal.send("first\r/n\r/seed\rhalf")
        terminal.wait_for("read first")
        terminal.wait_for("ran in")
        terminal.wait(lambda: terminal.line == "1 › half")
        assert "1 › /n\ncandidates per prompt: 1\n1 › /seed\nseed: " in terminal.text


def test_output_is_shown_again_behind_each_line_that_is_typed(start: Start) -> None:
    with start("for n in range(50): print(n)\ninput()\nprint('after')\n") as terminal:
        terminal.send("/run\r")
        terminal.wait_for("\n29")
        terminal.send("\r")
        terminal.wait_for("after\n")
        terminal.wait_for("… 20 more lines")
        assert "\n30\n" not in terminal.text
