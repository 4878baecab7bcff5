"""A server for tests, on the tiny model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.serving import InThread, server_thread


@pytest.fixture
def served(tiny_model: Path, tmp_path: Path) -> Iterator[InThread]:
    with server_thread(tiny_model, tmp_path / "run") as there:
        yield there
