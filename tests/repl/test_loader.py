"""A model that loads meanwhile: waited for, given up, tried again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from cgcli.core.errors import CgcliError, Interrupted
from cgcli.native.interrupt import Interrupt
from cgcli.repl.loader import Loader
from tests.repl.scripted import AnsweringEngine


class Opening:
    """Loads when it is told to, or fails as told; gives up when nobody wants it any more, as llama.cpp does."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.may_end = threading.Event()
        self.engine: Any = AnsweringEngine()  # a stand-in for Engine
        self.begun = 0

    def __call__(self, cancelled: Callable[[], bool]) -> Any:
        self.begun += 1
        while not self.may_end.wait(0.005):
            if cancelled():
                raise Interrupted
        if self.failures:
            raise self.failures.pop(0)
        return self.engine


def make(opening: Opening) -> tuple[Loader, list[None]]:
    changes: list[None] = []
    return Loader(opening, lambda: changes.append(None)), changes


def test_it_loads_while_others_do_something_else() -> None:
    opening = Opening()
    loader, changes = make(opening)
    loader.start()
    loader.start()
    assert (loader.loading, loader.engine, changes) == (True, None, [])
    opening.may_end.set()
    assert loader.wait() is opening.engine
    assert not loader.loading
    assert (loader.engine, changes, opening.begun) == (opening.engine, [None], 1)
    loader.close()
    engine: Any = opening.engine
    assert engine.closed


def test_waiting_starts_a_load_that_nobody_started() -> None:
    opening = Opening()
    opening.may_end.set()
    assert make(opening)[0].wait() is opening.engine


def test_an_error_is_raised_for_every_caller() -> None:
    opening = Opening(CgcliError("no model"))
    opening.may_end.set()
    loader, changes = make(opening)
    for _ in range(2):
        with pytest.raises(CgcliError, match="no model"):
            loader.wait()
    assert (opening.begun, changes, loader.loading) == (1, [None], False)
    loader.close()


def test_after_ctrl_c_it_is_loaded_again() -> None:
    opening = Opening()
    loader, _ = make(opening)
    loader.start()
    Interrupt().set()
    with pytest.raises(Interrupted):
        loader.wait()
    Interrupt().clear()
    opening.may_end.set()
    assert loader.wait() is opening.engine
    assert opening.begun == 2


def test_one_that_still_loads_is_given_up_at_the_end() -> None:
    opening = Opening()
    loader, _ = make(opening)
    loader.start()
    loader.close()
    assert loader.engine is None
    assert not loader.loading
    assert not Interrupt().requested


@pytest.mark.parametrize("pressed", [False, True])
def test_one_that_is_given_up_leaves_ctrl_c_as_it_was(pressed: bool) -> None:
    """Whoever else looks at it meanwhile is not told that it was pressed, nor that it was not."""
    seen: list[bool] = []

    def open(cancelled: Callable[[], bool]) -> Any:
        while not cancelled():
            pass
        seen.append(Interrupt().requested)
        raise Interrupted

    loader = Loader(open, lambda: None)
    loader.start()
    if pressed:
        Interrupt().set()
    loader.close()
    assert (seen, Interrupt().requested) == ([pressed], pressed)
    Interrupt().clear()


def test_ctrl_c_for_something_else_does_not_end_the_loading() -> None:
    asked = threading.Event()
    answers: list[bool] = []
    go_on = threading.Event()

    def open(cancelled: Callable[[], bool]) -> Any:
        go_on.wait()
        answers.append(cancelled())
        asked.set()
        return AnsweringEngine()

    loader = Loader(open, lambda: None)
    loader.start()
    Interrupt().set()
    go_on.set()
    asked.wait()
    Interrupt().clear()
    assert answers == [False]
    loader.wait()
    loader.close()


def test_nothing_to_close_is_no_error() -> None:
    make(Opening())[0].close()
