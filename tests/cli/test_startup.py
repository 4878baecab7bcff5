"""How long a start takes. The limits are contracts; the fastest of several runs counts, as others use the machine."""

from __future__ import annotations

import time

import pytest

from tests.cli.running import cgcli

RUNS = 9


@pytest.mark.parametrize(("words", "limit_s"), [("--version", 0.08), ("--help", 0.4)])
def test_within_the_limit(words: str, limit_s: float) -> None:
    taken = []
    for _ in range(RUNS):
        started = time.perf_counter()
        assert cgcli(words).status == 0
        taken.append(time.perf_counter() - started)
    assert min(taken) < limit_s, f"{words} took {sorted(taken)}"
