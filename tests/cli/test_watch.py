"""`cgcli watch` from a shell: what it refuses, and how it ends. What it does with files: tests/app/test_watch.py."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.cli import run
from tests.support.patience import PATIENCE_S, eventually
from tests.support.process import CGCLI
from tests.support.pseudo_terminal import pseudo_terminal


@pytest.mark.parametrize(
    ("name", "words"),
    [("data.csv", "data.csv does not look like a program"), (".", ". is a folder"), ("", "missing argument")],
)
def test_only_programs_are_watched(name: str, words: str, tiny_model: Path) -> None:
    ran = run("watch", *([name] if name else []), "-m", str(tiny_model))
    assert (ran.status, ran.out) == (2, b"") and words in ran.err


def test_what_cannot_be_looked_at_is_no_file_that_may_come(tiny_model: Path, tmp_path: Path) -> None:
    loop = tmp_path / "loop.py"
    loop.symlink_to(loop)
    for path in (loop, tmp_path / f"{'a' * 300}.py"):
        ran = run("watch", str(path), "-m", str(tiny_model))
        assert (ran.status, ran.out) == (1, b"") and ran.err.startswith(f"cgcli: cannot read {path}: ")


def test_without_a_model_there_is_nothing_to_watch_with(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("# one !\n")
    ran = run("watch", str(tmp_path / "a.py"))
    assert (ran.status, ran.out) == (3, b"") and ran.err.count("\n") == 1
    assert (tmp_path / "a.py").read_text() == "# one !\n"


def test_control_c_stops_a_draw_and_the_next_one_leaves(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("# one !\n")
    options = ("--max-tokens", "1900", "-t", "1", "--guard", "off", "--threads", "1", "--seed", "1")
    with pseudo_terminal(*CGCLI, "watch", str(file), "-m", str(tiny_model), *options, columns=200) as terminal:
        terminal.wait_for("line 1: one")
        terminal.send("\x03")
        terminal.wait_for("stopped")
        file.write_text(file.read_text() + "\n# two !\n")
        terminal.wait_for(": two")
        terminal.send("\x03")
        terminal.wait_for("stopped", times=2)
        terminal.send("\x03")
        terminal.wait(lambda: not terminal.process.isalive())
        assert terminal.process.exitstatus == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 0)])
def test_a_signal_ends_it(number: signal.Signals, status: int, tiny_model: Path, tmp_path: Path) -> None:
    command = [*CGCLI, "watch", str(tmp_path / "a.py"), "-m", str(tiny_model), "--threads", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ) as process:
        assert process.stderr and process.stderr.readline().startswith(b"watching ")
        process.send_signal(number)
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (status, b"")


def test_quiet_says_nothing(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("# one !\n")
    command = [
        *CGCLI,
        "watch",
        "-q",
        str(file),
        "-m",
        str(tiny_model),
        "--max-tokens",
        "8",
        "-t",
        "1",
        "--guard",
        "off",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ) as process:
        eventually(lambda: "!" not in file.read_text(), "nothing is drawn")
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE_S) == (b"", b"")
