"""A few seconds of `make soak-serve`."""

from __future__ import annotations

from pathlib import Path

import pytest

for _needed in ("starlette", "uvicorn"):
    pytest.importorskip(_needed)


def test_a_server_stands_clients_of_all_kinds(bundled_model: Path) -> None:
    from tests.benchmarks.soak_serve import soak

    load, watch, wrong = soak(bundled_model, seconds=2, clients=4, seed=1, idle=40)
    assert wrong == []
    assert load.done and watch.memory_mb
