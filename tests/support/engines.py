"""Engines that are closed when the test ends. On the tiny model one takes two milliseconds, so that no test gets an
engine that another has used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from cgcli.engine.engine import EngineOptions, LlamaEngine
from cgcli.native.interrupt import Interrupt

MakeEngine = Callable[..., LlamaEngine]
"""Takes the model's path, the tiny one's without, and what `EngineOptions` has; one thread where that says nothing."""


@contextmanager
def making_engines(tiny_model: Path, interrupt: Interrupt) -> Iterator[MakeEngine]:
    with ExitStack() as opened:

        def make(model: Path = tiny_model, **options: Any) -> LlamaEngine:
            chosen = EngineOptions(**{"threads": 1} | options)
            return opened.enter_context(LlamaEngine(model, chosen, interrupt=interrupt))

        yield make
        interrupt.clear()
