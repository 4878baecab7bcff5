"""A Hub on loopback, and an environment that points at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cgcli.core.config import Environment
from tests.hub.fake_hub import FakeHub
from tests.hub.recording import Recorder


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    with FakeHub(tmp_path / "hub") as server:
        yield server


@pytest.fixture
def environment(tmp_path: Path, hub: FakeHub) -> Environment:
    home = tmp_path / "home"
    return Environment(home / "store", home / "data", home, {"HF_ENDPOINT": hub.url, "CGCLI_HOME": str(home)})


@pytest.fixture
def progress() -> Recorder:
    return Recorder()
