"""`cgcli repl`: from a script, and on a terminal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import termios
from pathlib import Path
from subprocess import PIPE

import pytest

from cgcli.program.program_store import ProgramStore
from tests.support.cli import run
from tests.support.patience import until_it_worked
from tests.support.process import CGCLI, Ran, cgcli
from tests.support.pseudo_terminal import pseudo_terminal

NANO = ["-m", "codegen-nano"]
TINY = ["--max-tokens", "8", "--seed", "1"]


def script(model: Path, text: str, *arguments: str) -> Ran:
    return run("repl", "-m", str(model), *TINY, *arguments, stdin=text.encode())


class TestScript:
    def test_the_program_is_on_stdout_and_all_else_on_stderr(self, tiny_model: Path) -> None:
        ran = script(tiny_model, "first\n/show\nsecond \\\nline\n")
        assert ran.status == 0, ran.err
        lines = ran.out.decode().splitlines()
        assert lines[0] == "#!/usr/bin/env python3"
        assert [line for line in lines if line.startswith("#")][1:] == ["# first", "# second", "# line"]
        assert ran.err.startswith("tiny, seed 1\n")
        assert "  1     1 line  first" in ran.err
        assert "\x1b" not in ran.err

    def test_the_status_is_that_of_the_last_error_and_the_program_is_there(self, tiny_model: Path) -> None:
        ran = script(tiny_model, "first\n/drop 7\n/show\n")
        assert ran.status == 2
        assert "cgcli: line 2: no turn 7: the last is 1; /show\n" in ran.err
        assert b"# first\n" in ran.out

    def test_quiet_says_errors_only(self, tiny_model: Path) -> None:
        ran = script(tiny_model, "first\n/show all\n/drop 7\n", "-q")
        assert ran.err == "cgcli: line 3: no turn 7: the last is 1; /show\n"

    def test_a_failed_run_ends_in_its_status(self, tiny_model: Path, tmp_path: Path) -> None:
        file = tmp_path / "x.py"
        file.write_text("print('so far')\n1 / 0\n")
        ran = script(tiny_model, "/run\n", "--unsafe", str(file))
        assert ran.status == 8
        assert "so far\n" in ran.err
        assert "cgcli: line 1: ZeroDivisionError: division by zero, line 2, after" in ran.err
        assert ran.out == file.read_bytes()

    def test_bytes_that_are_not_utf8_come_through(self, tiny_model: Path, tmp_path: Path) -> None:
        file = tmp_path / "x.py"
        file.write_bytes(b"# \xff\n")
        ran = script(tiny_model, "set x\n/save\n", str(file))
        assert ran.status == 0, ran.err
        assert ran.out.startswith(b"# \xff\n\n# set x\n")
        assert file.read_bytes() == ran.out

    def test_ctrl_c_ends_it_and_the_program_is_there(self, embedded_home: Path, tmp_path: Path) -> None:
        command = [*CGCLI, "repl", "--seed", "3", "--max-tokens", "2000"]
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "store").symlink_to(embedded_home / "store")
        environment = {**os.environ, "CGCLI_HOME": str(tmp_path / "home")}
        with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment, bufsize=0) as process:
            assert process.stdin and process.stdout and process.stderr
            process.stdin.write(b"a list of the hundred largest cities\nprint them\nprint them again\n")
            process.stdin.close()
            assert any(b"perplexity" in line for line in iter(process.stderr.readline, b""))
            until_it_worked(process.pid, 0.3)
            process.send_signal(signal.SIGINT)
            out, err = process.stdout.read(), process.stderr.read()
        assert process.returncode == 130, err
        assert out.count(b"# a list of the hundred") == 1 and b"# print them" not in out
        assert err.endswith(b"cgcli: line 1: interrupted\n")

    def test_a_reader_that_has_enough_ends_it_quietly(self, tiny_model: Path) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        try:
            ran = cgcli("repl", "-m", str(tiny_model), *TINY, stdin=b"/show\n", stdout=writing)
        finally:
            os.close(writing)
        assert (ran.status, "Traceback" in ran.err) == (0, False)


class TestPrograms:
    def test_a_file_that_is_not_there_is_made(self, tiny_model: Path, tmp_path: Path) -> None:
        file = tmp_path / "new.py"
        ran = script(tiny_model, "first\n/save\n", str(file))
        assert ran.status == 0, ran.err
        assert file.read_bytes() == ran.out
        assert "new.py: new file" in ran.err

    def test_a_file_goes_on_where_it_was_left(self, tiny_model: Path, tmp_path: Path) -> None:
        file = tmp_path / "x.py"
        script(tiny_model, "first\n/save\n", str(file))
        ran = script(tiny_model, "/show\n/undo\n", str(file))
        assert "x.py: 1 turn" in ran.err
        assert b"# first" not in ran.out
        file.write_text("y = 1\n")
        ran = script(tiny_model, "/show\n", str(file))
        assert ran.out == b"y = 1\n"
        assert "x.py: 0 turns, 1 line" in ran.err
        assert re.search(r"changed since session (\S+) saved it; its turns: cgcli repl --resume \1$", ran.err, re.M)

    @pytest.mark.parametrize("broken", ["", "nowhere/at/all"])
    def test_a_file_that_cannot_be_read_is_one_line(self, tiny_model: Path, tmp_path: Path, broken: str) -> None:
        (tmp_path / "nowhere").touch()
        ran = script(tiny_model, "first\n", str(tmp_path / broken))
        assert ran.status == 1
        assert ran.err.startswith(f"cgcli: cannot read {tmp_path / broken}: ")
        assert ran.err.count("\n") == 1

    def test_a_session_that_goes_on_has_its_seed(self, tiny_model: Path, tmp_path: Path) -> None:
        def seed(*arguments: str) -> str:
            typed = f"first\n/save {tmp_path / 'x.py'}\n".encode()
            ran = run("repl", "-m", str(tiny_model), "--max-tokens", "8", *arguments, stdin=typed)
            return ran.err.partition("\n")[0]

        assert seed() == seed("--resume") == seed("--resume")
        assert seed("--resume", "--seed", "5").endswith("seed 5")

    def test_resume_goes_on_with_the_last_one_or_the_one_named(self, tiny_model: Path, tmp_path: Path) -> None:
        script(tiny_model, f"first\n/save {tmp_path / 'first.py'}\n")
        script(tiny_model, f"second\n/save {tmp_path / 'second.py'}\n")
        first, second = sorted(ProgramStore(tmp_path / "home" / "data" / "programs").ids())
        assert b"# second" in script(tiny_model, "", "--resume").out
        assert b"# first" in script(tiny_model, "", "--resume", first).out
        assert b"# second" in script(tiny_model, "", "--resume", second).out

    def test_resume_goes_on_with_the_model_of_the_last_turn(self, tiny_model: Path, tmp_path: Path) -> None:
        run("repl", *NANO, *TINY, stdin=f"first\n/save {tmp_path / 'x.py'}\n".encode())
        assert run("repl", "--resume", stdin=b"/show\n", CGCLI_MODEL=str(tiny_model)).err.startswith("codegen-nano")
        assert script(tiny_model, "", "--resume").err.startswith("tiny, seed 1\n")
        script(tiny_model, f"second\n/save {tmp_path / 'x.py'}!\n", "--resume")
        ran = run("repl", "--resume", stdin=b"/show\n", CGCLI_MODEL="codegen-nano")
        assert "tiny:f16, which wrote this session, is not here; codegen-nano goes on with it\n" in ran.err

    def test_resuming_what_is_not_there(self, tiny_model: Path) -> None:
        ran = script(tiny_model, "", "--resume")
        assert (ran.status, ran.err) == (2, "cgcli: no session to resume; type: cgcli repl\n")
        ran = script(tiny_model, "", "--resume", "20")
        assert (ran.status, ran.err) == (2, "cgcli: no program '20'; type: cgcli sessions\n")

    def test_a_script_leaves_no_session(self, tiny_model: Path, tmp_path: Path) -> None:
        file = tmp_path / "x.py"
        file.write_text("x = 1\n")
        for arguments in ([], [str(file)]):
            assert b"# first" in script(tiny_model, "first\nsecond\n", *arguments).out
            assert script(tiny_model, "first\n/nothing\n", *arguments).status != 0
        assert ProgramStore(tmp_path / "home" / "data" / "programs").list() == ()

    def test_a_script_keeps_the_session_that_it_saves_or_goes_on_with(self, tiny_model: Path, tmp_path: Path) -> None:
        programs = ProgramStore(tmp_path / "home" / "data" / "programs")
        script(tiny_model, "first\n/save\n", str(tmp_path / "x.py"))
        script(tiny_model, "second\n", "--resume")
        script(tiny_model, "third\n/save\n", str(tmp_path / "y.py"))
        assert [(one.turns, one.title) for one in programs.list()] == [(1, "third"), (2, "first")]

    def test_a_second_one_on_the_same_session_is_told(self, tiny_model: Path, tmp_path: Path) -> None:
        file = tmp_path / "x.py"
        script(tiny_model, "first\n/save\n", str(file))
        with ProgramStore(tmp_path / "home" / "data" / "programs").latest() or pytest.fail("no journal"):
            for arguments in (["--resume"], [str(file)]):
                ran = script(tiny_model, "", *arguments)
                assert ran.status == 1
                assert "is open in another cgcli" in ran.err

    def test_without_a_model_it_says_how_to_get_one(self) -> None:
        ran = run("repl", stdin=b"first\n")
        assert ran.status == 3
        assert "cgcli pull" in ran.err


class TestTerminal:
    def test_notes_of_loading_stand_behind_the_line(self, tiny_model: Path) -> None:
        model = ["-m", str(tiny_model), "--ctx", "4096", "--max-tokens", "8"]
        with pseudo_terminal(*CGCLI, "-v", "repl", *model) as terminal:
            terminal.wait_for("1 ›")
            terminal.send("half a line")
            terminal.wait_for("/4096 tokens")
            terminal.pump(0.3)
            terminal.send("\r")
            terminal.wait_for("2 ›")
            before, _, after = terminal.text.partition("1 › half a line\n")
            assert "loaded in" in after and "context window of 4096" in after and "loaded in" not in before

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
    @pytest.mark.parametrize("prompt", ["", "a list of the hundred largest cities\r"])
    def test_a_signal_leaves_the_terminal_as_it_was(self, number: signal.Signals, prompt: str) -> None:
        command = [*CGCLI, "repl", *NANO, "-t", "0.8", "--seed", "3", "--max-tokens", "2000"]
        with pseudo_terminal(*command) as terminal:
            beside = os.open(Path(f"/proc/{terminal.process.pid}/fd/0").readlink(), os.O_RDWR | os.O_NOCTTY)
            before = termios.tcgetattr(beside)
            terminal.wait_for("1 ›")
            if prompt:
                terminal.send(prompt)
                terminal.wait_for("perplexity")
            assert termios.tcgetattr(beside) != before
            terminal.process.kill(number)
            terminal.wait(lambda: not terminal.process.isalive())
            assert (terminal.process.exitstatus, terminal.process.signalstatus) == (128 + number, None)
            assert termios.tcgetattr(beside) == before
            os.close(beside)
            terminal.wait(lambda: terminal.sent.rfind("\x1b[?2004l") > terminal.sent.rfind("\x1b[?2004h"))

    def test_plain_cgcli_is_the_repl_on_a_terminal_and_the_help_elsewhere(self) -> None:
        with pseudo_terminal(*CGCLI, CGCLI_MODEL="codegen-nano") as terminal:
            terminal.wait_for("1 ›")
            terminal.send("\x04")
            terminal.wait(lambda: not terminal.process.isalive())
        assert cgcli().out.decode().lstrip().startswith("Usage: cgcli")

    def test_where_stdout_is_a_file_the_program_is_in_it(self, tmp_path: Path) -> None:
        out = tmp_path / "out.py"
        line = f"{' '.join(CGCLI)} repl {' '.join(NANO)} --seed 1 --max-tokens 8 > {out}"
        with pseudo_terminal("sh", "-c", line) as terminal:
            terminal.send("a list with ten numbers\r")
            terminal.wait_for("2 ›")
            terminal.send("\x04")
            terminal.wait(lambda: not terminal.process.isalive())
        assert out.read_text().startswith("#!/usr/bin/env python3\n\n# a list with ten numbers\n")


LOADS_LATE = """
import sys, time
from pathlib import Path
from cgcli.engine.model import Loading
wait, may = Loading.wait, Path(sys.argv.pop(1))
def late(*words, **options):
    while not may.exists():
        time.sleep(0.01)
    return wait(*words, **options)
Loading.wait = late
from cgcli.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_the_prompt_is_there_while_the_model_loads(tiny_model: Path, tmp_path: Path) -> None:
    may = tmp_path / "may load"
    command = [sys.executable, "-c", LOADS_LATE, str(may), "repl", "-m", str(tiny_model), "--max-tokens", "8"]
    with pseudo_terminal(*command) as terminal:
        terminal.wait_for("loading")
        terminal.send("half a line")
        terminal.wait_for("1 › half a line")
        assert "loading" in terminal.text
        may.touch()
        terminal.wait(lambda: "loading" not in terminal.text)
        terminal.send("\r")
        terminal.wait_for("2 ›")
