"""Commands that SIGTERM and SIGHUP end, and what SIGKILL leaves to the next run."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.convert.checkpoints import GOLDEN
from tests.support.cli import run
from tests.support.ended import ended_at

ENDINGS = [(signal.SIGTERM, 143), (signal.SIGHUP, 129)]
CONVERT = "cgcli.convert.convert"


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go that are beside no other file."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.mark.parametrize(
    ("step", "number", "status"),
    [
        ("write_gguf", signal.SIGTERM, 143),
        ("verify", signal.SIGHUP, 129),
        ("kl_divergence", signal.SIGTERM, 143),
    ],
)
def test_convert_leaves_nothing(step: str, number: signal.Signals, status: int, tmp_path: Path, scratch: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "model.gguf").write_bytes(b"what was there")
    words = ["convert", str(GOLDEN), "-o", str(folder / "model.gguf"), "--quant", "q8_0"]
    ran = ended_at(f"{CONVERT}.{step}", number, *words)
    assert (ran.status, ran.out) == (status, b"")
    assert ran.err.splitlines()[-1] == f"cgcli: terminated by {number.name}"
    assert [file.name for file in folder.iterdir()] == ["model.gguf"]
    assert (folder / "model.gguf").read_bytes() == b"what was there"
    assert list(scratch.iterdir()) == []


def test_the_next_convert_removes_what_a_killed_one_left(tmp_path: Path, scratch: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".model.gguf.notes").write_text("the user's own")
    words = ["convert", str(GOLDEN), "-o", str(folder / "model.gguf"), "--quant", "q8_0"]
    assert ended_at(f"{CONVERT}.verify", signal.SIGKILL, *words).status == -signal.SIGKILL
    assert len(list(folder.iterdir())) == 3
    assert run(*words).status == 0
    assert sorted(file.name for file in folder.iterdir()) == [".model.gguf.notes", "model.gguf"]
    assert list(scratch.iterdir()) == []


def test_a_signal_that_is_ignored_ends_nothing(tmp_path: Path) -> None:
    """As under nohup."""
    code = (
        "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "from cgcli.cli import main\n"
        "main._invoke = lambda *_: os.kill(os.getpid(), signal.SIGHUP) or 0\n"
        "assert main.main(['models']) == 0\n"
        "assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_handlers_are_as_they_were() -> None:
    assert run("models").status == 0
    assert {signal.getsignal(number) for number, _ in ENDINGS} == {signal.SIG_DFL}
