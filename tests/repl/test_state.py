"""What a REPL is made of is given back, and its program never let go before it is kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cgcli.core.errors import UsageError
from cgcli.program.journal import is_open
from cgcli.repl.loop import attempt
from cgcli.repl.state import Repl
from tests.repl.scripted import AnsweringEngine, ScriptedReader, make_repl


def begun(folder: Path, *lines: str) -> Repl:
    repl, _ = make_repl(folder, ScriptedReader([]))
    for line in lines:
        assert attempt(repl, line) is None
    return repl


@pytest.mark.parametrize("command", ["/clear", "/open other.py"])
def test_a_program_that_cannot_be_kept_is_not_left(mount: Callable[[str], Path], tmp_path: Path, command: str) -> None:
    disk = mount("size=64k")
    repl = begun(disk, "count")
    (disk / "work" / "other.py").write_text("y = 1\n")
    filling = disk / "filling"
    with pytest.raises(OSError), filling.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(64))
    path = repl.journal.path
    while attempt(repl, "/retry") is None:  # the file's last block may have room
        pass
    for _ in range(2):
        error = attempt(repl, command)
        assert error is not None and "no space left" in error.message
        assert repl.journal.path == path and is_open(path)
    filling.unlink()
    assert attempt(repl, command) is None
    assert not is_open(path) and not repl.program.turns
    repl.close()


def test_a_model_that_cannot_be_closed_keeps_no_program_locked(tmp_path: Path) -> None:
    class Stuck(AnsweringEngine):
        def close(self) -> None:
            raise RuntimeError("stuck")

    repl, _ = make_repl(tmp_path, ScriptedReader([]), engine=Stuck())
    assert attempt(repl, "count") is None
    with pytest.raises(RuntimeError):
        repl.close()
    assert not is_open(repl.journal.path)


@pytest.mark.parametrize("command", ["/undo", "/drop 2", "/switch other"])
def test_a_prompt_that_is_gone_is_not_told_of(tmp_path: Path, command: str) -> None:
    repl = begun(tmp_path, "count", "/branch other", "/switch main", "print their mean")
    assert repl.reading is not None
    assert attempt(repl, command) is None
    assert repl.reading is None
    assert isinstance(attempt(repl, "/why"), UsageError)
    repl.close()


def test_another_model_is_told_no_perplexity_of_the_former_one(tmp_path: Path) -> None:
    repl = begun(tmp_path, "count")
    assert repl.reading is not None
    assert attempt(repl, "/model tiny") is None
    assert repl.reading is None and repl.fold is None
    repl.close()


@pytest.mark.parametrize("command", ["/open pipe", "/save pipe", "/export md pipe"])
def test_nobody_waits_for_a_pipe(tmp_path: Path, command: str) -> None:
    repl = begun(tmp_path, "count")
    os.mkfifo(tmp_path / "work" / "pipe")
    error = attempt(repl, command)  # one that waits is ended by the limit of every test
    assert error is not None and "pipe: it is" in error.message
    repl.close()
