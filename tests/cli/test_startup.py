"""How long a start takes. The limits are contracts.

Held to them is the processor time of the fastest of several runs, which on an idle machine is the time that passes:
others use the machine while tests run.
"""

from __future__ import annotations

import resource

import pytest

from tests.cli.running import cgcli

RUNS = 9


def processor_seconds() -> float:
    """Of all ended children of this process, in user mode and in the kernel."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(("words", "limit_s"), [("--version", 0.08), ("--help", 0.4)])
def test_within_the_limit(words: str, limit_s: float) -> None:
    taken = []
    for _ in range(RUNS):
        before = processor_seconds()
        assert cgcli(words).status == 0
        taken.append(processor_seconds() - before)
    assert 0 < min(taken) < limit_s, f"{words} took {sorted(taken)}"
