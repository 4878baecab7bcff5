"""`cgcli gen` on a terminal, and Ctrl-C at different moments."""

from __future__ import annotations

import base64
import os
import pty
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.test_gen import SHORT
from tests.support.cli import run
from tests.support.patience import PATIENCE_S, children_worked, eventually, until_it_worked
from tests.support.process import CGCLI
from tests.support.pseudo_terminal import pseudo_terminal


def on_terminal(command: list[str], **variables: str) -> tuple[int, bytes]:
    """Run with stdout and stderr on a pseudo-terminal; status and all that it was shown."""
    pid, master = pty.fork()
    if pid == 0:
        os.environ.update(variables)
        os.execvp(command[0], command)
    shown = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [
        ({"NO_COLOR": "", "TERM": "xterm"}, True),
        ({"NO_COLOR": "1", "TERM": "xterm"}, False),
        ({"NO_COLOR": "", "TERM": "dumb"}, False),
    ],
)
def test_colour_only_where_the_terminal_wants_it(tiny_model: Path, variables: dict[str, str], coloured: bool) -> None:
    status, shown = on_terminal([*CGCLI, "gen", "x", "-m", str(tiny_model), *SHORT], **variables)
    assert status == 0 and b"# x" in shown
    assert (b"\x1b[" in shown) == coloured


def test_a_program_cannot_drive_a_terminal_without_colour(tiny_model: Path, tmp_path: Path) -> None:
    evil = tmp_path / "evil.py"
    evil.write_bytes(b"x = 1 # \x1b]0;OWNED\x07\n")
    command = f"{' '.join(CGCLI)} gen --whole x -m {tiny_model} {' '.join(SHORT)} < {evil}"
    _, shown = on_terminal(["sh", "-c", command], NO_COLOR="1", TERM="xterm")
    assert b"OWNED" in shown and b"\x1b" not in shown and b"\x07" not in shown


@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
def test_drafts_are_shown_as_they_are_drawn_and_the_one_that_stands_last(tmp_path: Path, term: str) -> None:
    before = tmp_path / "empty.py"
    before.write_text("numbers = []\n")
    command = [*CGCLI, "gen", "--into", str(before), "print the mean of the numbers", "--until", "runs", "--unsafe"]
    command += ["-t", "1", "--seed", "3", "--max-tokens", "40", "-m", "codegen-nano"]
    with pseudo_terminal(*command, rows=40, columns=120, TERM=term) as terminal:
        terminal.wait_for("tokens/s")
        parts = f"{terminal.text}\n".split("… written again:\n")
    code = before.read_text().splitlines()[-1]
    assert len(parts) > 1, "another seed for this test: the first draft runs"
    for number, part in enumerate(parts[:-1], 1):
        assert part.splitlines()[-1].endswith(f"regenerating it, try {number} of 4")
    assert parts[-1].startswith(f"{code}\nturn 1 ran at try {len(parts) - 1}\n")


def test_ctrl_c_keeps_what_was_written_and_exits_130(tiny_model: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    command = [*CGCLI, "gen", "--raw", "-t", "1.5", "--max-tokens", "100000", "-m", str(tiny_model)]
    with (
        target.open("wb") as out,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.PIPE) as process,
    ):
        assert process.stdin and process.stderr
        process.stdin.write(b"abc")
        process.stdin.close()
        eventually(lambda: target.stat().st_size >= 20)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE_S) == 130
        assert b"Traceback" not in process.stderr.read()
    assert target.stat().st_size >= 20


def test_ctrl_c_keeps_a_part_in_the_file_of_into(embedded_home: Path, tmp_path: Path) -> None:
    program = tmp_path / "prog.py"
    program.write_text("import os\n")
    command = [*CGCLI, "gen", "--into", str(program), "list all files", "--max-tokens", "2000", "--raw", "-v"]
    command += ["-t", "2", "--top-p", "1", "--seed", "1"]
    environment = {**os.environ, "CGCLI_HOME": str(embedded_home)}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stderr
        assert any(b"loaded" in line for line in iter(process.stderr.readline, b""))
        until_it_worked(process.pid, 0.7)  # there is a text then
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE_S) == 130
    assert program.read_text().startswith("import os\nlist all files")
    assert len(program.read_text()) > len("import os\nlist all files")


def test_ctrl_c_during_prefill_prints_nothing_and_exits_130(embedded_home: Path) -> None:
    command = [*CGCLI, "gen", "go on", "-v"]
    environment = {**os.environ, "CGCLI_HOME": str(embedded_home)}
    before = children_worked()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(b"x = [1, 2, 3]\n" * 500)
        process.stdin.close()
        assert any(b"loaded" in line for line in iter(process.stderr.readline, b""))
        until_it_worked(process.pid, 0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE_S) == 130
        assert process.stdout.read() == b""
    assert children_worked() - before < 8  # all of it takes three times as long


def test_the_text_is_copied_by_the_terminal(tiny_model: Path) -> None:
    status, shown = on_terminal([*CGCLI, "gen", "x", "-m", str(tiny_model), *SHORT, "--copy"], TERM="xterm")
    copied = re.search(rb"\x1b\]52;c;([A-Za-z0-9+/=]+)\x07", shown)
    assert status == 0 and copied and b"copied to the terminal's clipboard" in shown
    assert base64.b64decode(copied[1]).startswith(b"#!/usr/bin/env python3\n\n# x\n")


def test_without_a_clipboard_nothing_is_drawn(tiny_model: Path) -> None:
    ran = run("gen", "x", "-m", str(tiny_model), *SHORT, "--copy", PATH="", DISPLAY="", WAYLAND_DISPLAY="")
    assert (ran.status, ran.out) == (1, b"") and "there is no clipboard here" in ran.err
