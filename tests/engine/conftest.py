"""Engines on the tiny model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cgcli.engine.engine import EngineOptions, LlamaEngine
from cgcli.native.interrupt import interruptible
from tests.engine.drawing import Make


@pytest.fixture
def make(tiny_model: Path) -> Iterator[Make]:
    """Engines on the tiny model, closed at the end."""
    with interruptible() as interrupt:
        engines: list[LlamaEngine] = []

        def make(**options: object) -> LlamaEngine:
            chosen = EngineOptions(**{"exact": True, "threads": 1} | options)  # type: ignore[arg-type]
            engines.append(LlamaEngine(tiny_model, chosen, interrupt=interrupt))
            return engines[-1]

        yield make
        interrupt.clear()
        for engine in engines:
            engine.close()
