"""A resumed session does not read its program again, and goes on as if it had not been left."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from cgcli.app.repl import SavedState
from cgcli.core.config import Settings
from cgcli.engine.engine import EngineOptions, LlamaEngine
from cgcli.hub.choose import Choice
from cgcli.native.interrupt import Interrupt
from cgcli.program.languages import PYTHON
from cgcli.program.program import new_program
from cgcli.program.program_store import ProgramStore
from cgcli.repl.loop import attempt
from cgcli.repl.screen import Screen
from cgcli.repl.state import Options, Repl, Ui
from tests.repl.scripted import ScriptedReader

LONG = "first " * 20
HASH = "ab" * 32


class TinyModels:
    """Opens the tiny model with a saved state."""

    def __init__(self, path: Path, state: SavedState) -> None:
        self.path, self.state = path, state

    def choose(self, name: str | None) -> Choice:
        return Choice("tiny", self.path, "q8_0", name or HASH)

    def open(self, choice: Choice, cancelled: Callable[[], bool]) -> LlamaEngine:
        engine = LlamaEngine(self.path, EngineOptions(threads=1), interrupt=Interrupt())
        engine.reserve(engine.window)
        self.state.load(engine, choice)
        return engine

    def setup(self, choice: Choice, engine: object) -> None:
        return None

    def names(self) -> Iterable[str]:
        return ()


def start(model: Path, folder: Path, resumed: str = "", sha256: str | None = None) -> tuple[Repl, SavedState]:
    programs = ProgramStore(folder)
    settings = Settings(seed=1, temperature=1.0, max_tokens=8)
    state = SavedState(folder, resumed)
    models = TinyModels(model, state)
    program = new_program(PYTHON, settings, None)
    return Repl(
        programs=programs,
        journal=programs.open(resumed) if resumed else programs.new(program, PYTHON.name),
        models=models,
        choice=models.choose(sha256),
        options=Options(settings),
        ui=Ui(reader=ScriptedReader([]), screen=Screen(io.StringIO(), color=False)),
        folder=folder,
    ), state


def left(model: Path, folder: Path) -> str:
    """A session with one turn that was left; its id."""
    repl, state = start(model, folder)
    assert attempt(repl, LONG) is None
    state.save(repl)
    repl.close()
    return repl.journal.id


def read(repl: Repl) -> int:
    return repl.loader.wait().timings.prefill_tokens


def test_a_resumed_program_is_not_read_again_and_goes_on_the_same(tiny_model: Path, tmp_path: Path) -> None:
    whole, _ = start(tiny_model, tmp_path / "whole")
    assert attempt(whole, LONG) is None
    before = read(whole)
    assert attempt(whole, "second") is None
    tokens = read(whole) - before
    whole.close()

    resumed, _ = start(tiny_model, tmp_path / "left", left(tiny_model, tmp_path / "left"))
    assert attempt(resumed, "second") is None
    assert read(resumed) <= tokens + 1 < before
    assert resumed.program.source() == whole.program.source()
    resumed.close()


def test_only_the_user_can_read_it_and_it_goes_with_its_session(tiny_model: Path, tmp_path: Path) -> None:
    name = left(tiny_model, tmp_path)
    (file,) = tmp_path.glob("*.state")
    assert file.stem == name and file.stat().st_mode & 0o777 == 0o600
    second = left(tiny_model, tmp_path)
    assert [path.stem for path in tmp_path.glob("*.state")] == [second]
    ProgramStore(tmp_path).remove(second)
    assert not list(tmp_path.glob("*.state"))


@pytest.mark.parametrize("fault", ["damaged", "another model"])
def test_what_does_not_fit_is_removed(tiny_model: Path, tmp_path: Path, fault: str) -> None:
    name = left(tiny_model, tmp_path)
    (file,) = tmp_path.glob("*.state")
    if fault == "damaged":
        file.write_bytes(file.read_bytes()[:-100])
    repl, _ = start(tiny_model, tmp_path, name, "cd" * 32 if fault == "another model" else None)
    repl.loader.wait()
    assert not file.exists()
    assert attempt(repl, "second") is None
    repl.close()


def test_a_repl_in_which_nothing_was_done_leaves_it_alone(tiny_model: Path, tmp_path: Path) -> None:
    left(tiny_model, tmp_path)
    repl, state = start(tiny_model, tmp_path)
    repl.loader.wait()
    state.save(repl)
    repl.close()
    assert len(list(tmp_path.glob("*.state"))) == 1


def test_what_takes_too_long_to_save_is_not_saved(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SavedState, "_SECONDS", 0.0)
    left(tiny_model, tmp_path)
    assert [path.suffix for path in tmp_path.iterdir() if path.is_file()] == [".jsonl"]
