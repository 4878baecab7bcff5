"""A Hub on loopback, an environment that points at it, and small file systems that say no."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cgcli.core.environment import Environment
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


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount a tmpfs with the given options, e.g. `mount("size=1m")`; skips where that is not allowed."""
    mounted: list[Path] = []

    def tmpfs(options: str) -> Path:
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("no permission to mount a tmpfs")
        mounted.append(place)
        return place

    yield tmpfs
    for place in mounted:
        subprocess.run(["umount", place], check=True)
