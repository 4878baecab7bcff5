"""Servers for tests: one on the tiny model in a thread, and a process that serves codegen-nano with --exact."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.site import Site
from tests.support.serving import InThread, ready_server, server_thread


@pytest.fixture
def served(tiny_model: Path, tmp_path: Path) -> Iterator[InThread]:
    with server_thread(tiny_model, tmp_path / "run") as there:
        yield there


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, bundled_model: Path) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("home")
    log = home / "log"
    with ready_server(home, log, "-m", str(bundled_model), "--exact", "--port", "0") as port:
        yield Site(port, log, home)
