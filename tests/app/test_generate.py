"""`generate`: what was drawn is reported when the engine is closed, whatever ended it."""

from __future__ import annotations

import io
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import Mock

import pytest

from cgcli.app.gen_arguments import GenArguments
from cgcli.app.generate import generate
from cgcli.app.run import Run
from cgcli.core.config import Settings
from cgcli.core.errors import CgcliError
from cgcli.core.signals import Terminated
from cgcli.hub.choose import Choice
from cgcli.native.library import library
from tests.program.fake import ScriptedEngine

ARGUMENTS = GenArguments(prompts=("one", "two"), no_stdin=True)


class Ending(ScriptedEngine):
    """Writes one turn; the second one raises."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(["x = 1\n\n\n"])
        self.error = error

    def check(self, context: bytes) -> None:
        if b"# two" in context:
            raise self.error


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def run(events: list[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose notes are events, and so is the end of the engine."""
    one = Run(io.BytesIO(), io.StringIO(), {})
    monkeypatch.setattr(one.output, "note", events.append)
    return one


def engine(error: BaseException, events: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Opening:
        def __init__(self, *_: object) -> None: ...

        def close(self) -> None: ...

        @contextmanager
        def engine(self, _: object) -> Iterator[ScriptedEngine]:
            try:
                yield Ending(error)
            finally:
                events.append("closed")

    monkeypatch.setattr("cgcli.app.generate.Opening", Opening)
    monkeypatch.setattr("cgcli.app.generate.setup_of", lambda *_: None)
    monkeypatch.setattr("cgcli.app.generate.choose_or_pull", lambda *_: Choice("fake", Path("fake.gguf")))


def test_turns_before_an_error_are_reported_when_the_engine_is_closed(
    run: Run, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(CgcliError("no more"), events, monkeypatch)
    with pytest.raises(CgcliError, match="no more"):
        generate(run, Settings(seed=1, log="off"), ARGUMENTS)
    assert events[0] == "closed"
    assert events[-1].startswith("fake q8_0, seed 1, ")


def test_a_run_that_a_signal_ends_reports_and_runs_nothing(
    run: Run, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine(Terminated(signal.SIGTERM), events, monkeypatch)
    with pytest.raises(Terminated):
        generate(run, Settings(seed=1, log="off"), ARGUMENTS)
    assert events == ["closed"]


def test_a_check_that_fails_ends_the_load(run: Run, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgcli.app.generate._generation", Mock(side_effect=CgcliError("no")))
    with pytest.raises(CgcliError, match="no"):
        generate(run, Settings(model=str(tiny_model), seed=1, log="off"), ARGUMENTS)
    assert "load" not in {thread.name for thread in threading.enumerate()}
    assert library().cgk_interrupt_restore() == -1  # Ctrl-C raises again
