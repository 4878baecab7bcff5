"""What a REPL is made of is given back, and its program never let go before it is kept."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cgcli.core.config import Settings
from cgcli.program.history import Setting
from cgcli.program.journal import is_open
from cgcli.program.session import Reading
from cgcli.repl.loop import attempt
from cgcli.repl.screen import Screen
from cgcli.repl.state import KEYS, Options, Repl, Ui
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
def test_a_removed_prompt_is_not_shown(tmp_path: Path, command: str) -> None:
    repl = begun(tmp_path, "count", "/branch other", "/switch main", "print their mean")
    assert repl.last.reading is not None
    assert attempt(repl, command) is None
    assert repl.last.reading is None
    assert attempt(repl, "/why") is None
    assert reading_of(repl).plan.prompt == "count"
    repl.close()


def test_another_model_does_not_show_the_former_perplexity(tmp_path: Path) -> None:
    repl = begun(tmp_path, "count")
    assert repl.last.reading is not None
    assert attempt(repl, "/model tiny") is None
    assert repl.last.reading is None and repl.last.fold is None
    repl.close()


@pytest.mark.parametrize("command", ["/open pipe", "/save pipe", "/export md pipe"])
def test_nobody_waits_for_a_pipe(tmp_path: Path, command: str) -> None:
    repl = begun(tmp_path, "count")
    os.mkfifo(tmp_path / "work" / "pipe")
    error = attempt(repl, command)  # one that waits is ended by the limit of every test
    assert error is not None and "pipe: it is" in error.message
    repl.close()


def reading_of(repl: Repl) -> Reading:
    assert repl.last.reading is not None
    return repl.last.reading


def resumed(repl: Repl, flags: frozenset[str] = frozenset(), **settings: float) -> tuple[Repl, io.StringIO]:
    """The session of a REPL that is closed, in another one that was started with these settings."""
    repl.close()
    reader, out = ScriptedReader([]), io.StringIO()
    journal = repl.programs.latest()
    assert journal is not None
    options = Options(replace(Settings(seed=1, guard="off"), **settings))  # type: ignore[arg-type]
    screen = Screen(out, color=False, width=lambda: 80)
    again = Repl(
        programs=repl.programs,
        journal=journal,
        models=repl.models,
        choice=repl.choice,
        options=options,
        ui=Ui(reader=reader, screen=screen),
        folder=repl.folder,
        flags=flags,
    )
    return again, out


def test_why_works_in_a_resumed_session(tmp_path: Path) -> None:
    repl, out = resumed(begun(tmp_path, "count", "print their mean", "/retry 1"))
    assert repl.last.reading is None
    session = repl.session()
    known = session._known
    assert attempt(repl, "/why") is None
    assert out.getvalue().startswith("turn 1, count\nperplexity 2.7\n")
    assert "37 %  'o'" in out.getvalue()
    reading = reading_of(repl)
    assert (reading.plan.prompt, reading.plan.program.turns) == ("count", ())
    assert session._known == known and len(repl.loader.wait().asides) == 1  # type: ignore[attr-defined]
    assert attempt(repl, "/why") is None
    assert out.getvalue().count("perplexity") == 1  # it is known now
    repl.close()


def test_why_after_a_switch_is_about_that_branch(tmp_path: Path) -> None:
    """Also where the branches share the prompt, behind another program."""
    lines = "count", "print their mean", "/branch other", "/edit 1 warn", "/retry 2"
    repl = begun(tmp_path, *lines)
    assert reading_of(repl).plan.program.turns[0].prompt == "warn"
    assert attempt(repl, "/switch main") is None
    assert attempt(repl, "/why") is None
    assert reading_of(repl).plan.prompt == "print their mean"
    assert reading_of(repl).plan.program.turns[0].prompt == "count"
    repl.close()


def test_why_without_a_prompt_says_what_to_do(tmp_path: Path) -> None:
    repl = begun(tmp_path)
    error = attempt(repl, "/why")
    assert error is not None
    assert error.line == "no prompt yet; type what the program should do first"
    repl.close()


CHANGED = {"temperature": "0.8", "top_p": "0.5", "top_k": "7", "min_p": "0.1", "max_tokens": "99", "seed": "12345",
           "candidates": "3", "pick": "run", "guard": "on", "fold": "off", "auto": "on", "until": "runs",
           "tries": "2", "try_time": "7.5", "vi": "on", "color": "never"}  # fmt: skip


def test_opened_files_are_closed_in_a_resumed_session(tmp_path: Path) -> None:
    data = tmp_path / "a.csv"
    data.write_text("1,2\n")
    repl, out = resumed(begun(tmp_path, f"/set read {data}", "count"))
    repl.ui.show_notes()
    assert not repl.options.read
    shown = " ".join(out.getvalue().split())
    assert f"programs cannot read {data} again: /set read {data} opens it" in shown


def test_what_was_set_comes_back_with_the_session(tmp_path: Path) -> None:
    assert {*CHANGED, "unsafe", "read", "write"} == set(KEYS)
    repl = begun(tmp_path, "/set temperature 0.3", "/set temperature 0.8", "/seed 12345", "/n 3", "count")
    for key, value in CHANGED.items():
        assert attempt(repl, f"/set {key} {value}") is None
    for _ in range(2):
        repl, out = resumed(repl)
        assert {key: repl.options.as_text(key) for key in CHANGED} == CHANGED
        repl.ui.show_notes()
        shown = " ".join(out.getvalue().split())
        assert "restored settings: temperature 0.8, seed 12345, candidates 3, top_p 0.5" in shown
    repl.close()


def test_what_was_asked_for_at_the_start_stands(tmp_path: Path) -> None:
    repl = begun(tmp_path, "count", "/set temperature 0.8", "/set top_k 7")
    repl, _ = resumed(repl, frozenset({"temperature"}), temperature=0.5)
    assert (repl.options.as_text("temperature"), repl.options.as_text("top_k")) == ("0.5", "7")
    assert attempt(repl, "warn") is None
    repl, _ = resumed(repl)
    assert (repl.options.as_text("temperature"), repl.options.as_text("top_k")) == ("0.5", "7")
    repl.close()


def test_a_resumed_session_is_not_unsafe(tmp_path: Path) -> None:
    repl, out = resumed(begun(tmp_path, "count", "/set unsafe on"))
    repl.ui.show_notes()
    assert not repl.options.unsafe
    assert out.getvalue() == "the sandbox is on again: /set unsafe on turns it off\n"
    repl.close()


def test_settings_alone_make_no_session_and_go_with_the_next_one(tmp_path: Path) -> None:
    repl = begun(tmp_path, "/set temperature 0.8")
    assert repl.programs.ids() == ()
    assert attempt(repl, "count") is None
    assert attempt(repl, "/clear") is None
    assert attempt(repl, "warn") is None
    repl, _ = resumed(repl)
    assert (repl.program.turns[0].prompt, repl.options.as_text("temperature")) == ("warn", "0.8")
    repl.close()


def test_unknown_settings_of_a_session_are_reported_and_kept(tmp_path: Path) -> None:
    repl = begun(tmp_path, "count")
    repl.do(Setting("heat", "9"))
    repl.do(Setting("temperature", "hot"))
    repl.do(Setting("top_k", "7"))
    repl, out = resumed(repl)
    repl.ui.show_notes()
    assert repl.options.as_text("top_k") == "7"
    assert "setting not restored: temperature is 'hot', not a non-negative number" in " ".join(out.getvalue().split())
    repl.close()
