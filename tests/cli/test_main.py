"""The command line as scripts see it: streams, exit statuses, one line an error."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cgcli import __version__
from cgcli.app.run import Run
from cgcli.cli import main as command_line
from cgcli.core.errors import CgcliError, ModelNotFound
from tests.support.cli import run
from tests.support.patience import PATIENCE_S
from tests.support.process import cgcli

GOLDEN = Path(__file__).parent / "help.txt"
COMMANDS = [
    ["gen"],
    ["score"],
    ["pull"],
    ["convert"],
    ["models"],
    ["models", "show"],
    ["models", "add"],
    ["bench"],
    ["doctor"],
]


@pytest.mark.parametrize("words", [["--version"], ["-q", "--version"]])
def test_version(words: list[str]) -> None:
    ran = cgcli(*words)
    assert (ran.status, ran.out, ran.err) == (0, f"cgcli {__version__}\n".encode(), "")


@pytest.mark.parametrize("words", [[], ["gen"], ["sessions", "show"]])
def test_help_is_a_command_too(words: list[str]) -> None:
    assert run("help", *words).out == run(*words, "--help").out != b""


def test_help_of_gen_leads_with_what_is_used_most() -> None:
    shown = run("gen", "--help").out.decode()
    used = shown.partition("─ Most used ─")[2].partition("╰")[0]
    assert all(option in used for option in ("--into", "--candidates", "--run", "--model", "--seed"))
    assert "--top-k" not in used and shown.index("Most used") < shown.index("─ Program ─")


def test_help_is_what_it_was() -> None:
    """After a wanted change: COLUMNS=100 cgcli --help > tests/cli/help.txt."""
    ran = run("--help", COLUMNS="100")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.decode() == GOLDEN.read_text()
    assert run(COLUMNS="100").out == ran.out


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_paragraph_of_help_fills_the_width(command: list[str]) -> None:
    prose = run(*command, "-h", COLUMNS="80").out.decode().partition("╭")[0]
    for paragraph in prose.split("\n" + " " * 80 + "\n"):
        lines = [line.strip() for line in paragraph.splitlines() if line.strip()]
        if not any("cgcli" in line for line in lines):  # an example keeps its lines
            for line, below in pairwise(lines):
                assert len(line) + len(f" {below.split()[0]}") > 78, line


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_and_the_common_options(command: list[str]) -> None:
    ran = run(*command, "-h")
    assert (ran.status, ran.err) == (0, "")
    assert all(option in ran.out.decode() for option in ("--quiet", "--verbose", "--debug"))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["pul", "x"], "no such command 'pul', did you mean pull?; type: cgcli --help"),
        (["hlep"], "no such command 'hlep', did you mean help?; type: cgcli --help"),
        (["version"], "no such command 'version', did you mean cgcli --version?; type: cgcli --help"),
        (["help", "pul"], "cgcli has no command 'pul', did you mean pull?; type: cgcli --help"),
        (["help", "nonsense"], "cgcli has no command 'nonsense'; type: cgcli --help"),
        (["help", "gen", "run"], "cgcli gen has no command 'run'; type: cgcli gen --help"),
        (["log", "5"], "no such command '5', did you mean cgcli log show 5?; type: cgcli log --help"),
        (["models", "shw"], "no such command 'shw', did you mean show?; type: cgcli models --help"),
        (
            ["gen", "--temprature", "1"],
            "no such option --temprature, did you mean --temperature?; type: cgcli gen --help",
        ),
        (["-n", "3", "x y"], "-n is an option of gen; type: cgcli gen -n 3 'x y'"),
        (["--zzz"], "no such option --zzz; type: cgcli --help"),
        *(
            (words, f"no such command '{words[0]}'; to write a program, type: cgcli gen 'write a loop'")
            for words in (["write a loop"], ["write", "a", "loop"])
        ),
        (["gen", "--zzz"], "no such option --zzz; type: cgcli gen --help"),
        (["pull"], "missing argument 'MODEL'; type: cgcli pull --help"),
        (
            ["gen", "-n", "x"],
            "invalid value for '-n' / '--candidates': 'x' is not a whole number; type: cgcli gen --help",
        ),
        (["gen", "-n", "0"], "invalid value for '-n' / '--candidates': '0' is less than 1; type: cgcli gen --help"),
        (["gen", "--top-p", "2", "x"], "--top-p is 2.0, not a number from 0 to 1; type: cgcli gen --help"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(words: list[str], line: str) -> None:
    ran = run(*words)
    assert (ran.status, ran.out, ran.err) == (2, b"", f"cgcli: {line}\n")


@pytest.mark.parametrize("words", [["models"], ["models", "path", "codegen-nano"], ["sessions"]])
def test_a_misspelt_variable_is_told_once(words: list[str]) -> None:
    line = "CGCLI_TEMPERATUR is not a setting, did you mean CGCLI_TEMPERATURE?\n"
    assert run(*words, CGCLI_TEMPERATUR="1").err.count(line) == 1
    assert "not a setting" not in run(*words, "-q", CGCLI_TEMPERATUR="1").err


def test_a_missing_model_is_status_3_and_names_what_to_type() -> None:
    ran = run("models", "path", "codegen-350m-mono")
    assert (ran.status, ran.out) == (3, b"")
    assert ran.err.startswith("cgcli: no model named 'codegen-350m-mono'") and ran.err.count("\n") == 1


def test_a_traceback_only_with_debug() -> None:
    plain, debug = run("models", "path", "none"), run("models", "path", "none", "--debug")
    assert "Traceback" not in plain.err
    assert "Traceback" in debug.err and debug.err.endswith(plain.err)


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ModelNotFound("no x", hint="cgcli pull x"), 3, "cgcli: no x; type: cgcli pull x"),
        (CgcliError("two\nlines \x1b[31m"), 1, "cgcli: two lines \\x1b[31m"),
        (FileNotFoundError(2, "No such file or directory", "x.py"), 1, "cgcli: x.py: No such file or directory"),
        (MemoryError(), 1, "cgcli: out of memory; use a smaller model or quantization: cgcli models"),
        (KeyError("x"), 1, "cgcli: internal error: KeyError: 'x'; please report it with the output of --debug"),
        (KeyboardInterrupt(), 130, "cgcli: interrupted"),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_every_exception_becomes_a_status(
    error: BaseException, status: int, line: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr(command_line, "_invoke", fail)
    assert command_line.main([]) == status
    assert capfd.readouterr() == ("", line + "\n" if line else "")


def test_a_traceback_does_not_move_the_cursor(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(run: Run, _: object) -> int:
        run.debug = run.output.verbose = True
        raise CgcliError("a name \x1b[2J")

    monkeypatch.setattr(command_line, "_invoke", fail)
    command_line.main([])
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback") and lines[-2].endswith("a name \\x1b[2J") and "\x1b" not in "".join(lines)


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["models"], ["models", "--json"]], ids=" ".join)
def test_a_closed_pipe_ends_quietly(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ran = cgcli(*words, stdout=writer)
    finally:
        os.close(writer)
    assert (ran.status, ran.err) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("words", [["--version"], ["--help"], ["models"]], ids=" ".join)
def test_a_full_disk_does_not(words: list[str]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        ran = cgcli(*words, stdout=full)
    finally:
        os.close(full)
    assert ran.status == 1
    assert ran.err.startswith("cgcli: ") and ran.err.endswith("No space left on device\n") and ran.err.count("\n") == 1


def test_a_stdout_that_is_closed_loses_nothing_in_silence() -> None:
    done = subprocess.run(["sh", "-c", f'"{sys.executable}" -m cgcli models >&-'], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"cgcli: cannot write to standard output: stdout is closed\n")


@pytest.mark.parametrize("closing", [">&-", "2>&-", "<&-"])
def test_streams_may_be_closed_from_the_start(closing: str) -> None:
    shell = f'"$0" -m cgcli models path nothing {closing}'
    done = subprocess.run(["sh", "-c", shell, sys.executable], capture_output=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 3
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words", [["models"], ["models", "path", "none"], ["pull", "none"], ["convert", "no", "-o", "x"]]
)
def test_the_users_colour_holds_for_every_command(words: list[str], tmp_path: Path) -> None:
    def coloured(**variables: Any) -> bool:
        ran = run(*words, **variables)
        return "\x1b[1" in ran.out.decode() + ran.err

    assert coloured(CGCLI_COLOR="always") and not coloured()
    wrong = run(*words, CGCLI_COLOR="blue")
    assert (wrong.status, wrong.out, wrong.err) == (
        2,
        b"",
        "cgcli: CGCLI_COLOR is 'blue', not auto, always or never\n",
    )
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "config.toml").write_text('color = "always"\n')
    assert coloured() and not coloured(CGCLI_COLOR="never")


def test_doctor_has_its_say_though_the_colour_is_wrong() -> None:
    ran = run("doctor", CGCLI_COLOR="blue")
    assert (ran.status, ran.err) == (1, "") and "✗ configuration    CGCLI_COLOR is 'blue'" in ran.out.decode()


def test_no_colour_where_there_is_no_terminal() -> None:
    for words in (["--help"], ["models"], ["models", "shw"]):
        ran = run(*words, NO_COLOR="")
        assert b"\x1b" not in ran.out and "\x1b" not in ran.err


def test_only_the_command_that_runs_is_made() -> None:
    def commands(*words: str) -> set[str]:
        app = command_line.build(*words[:1])
        return {str(one.name) for one in app.registered_commands} | {str(one.name) for one in app.registered_groups}

    assert (commands("gen", "x"), commands("models", "show")) == ({"gen"}, {"models"})
    everything = commands()
    assert len(everything) > 12 and everything == commands("-v", "gen") == commands("gne")
