"""Waiting in tests. How busy the machine is decides how long a test takes, never how it ends.

A test waits for what it wants to see and goes on at once; the limit is there only so that a fault ends with a message.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 180.0
"""What takes a second on an idle machine takes less than this on one where others want every core."""


def eventually(condition: Callable[[], object], what: Callable[[], object] | str = "") -> None:
    """Wait until `condition` holds. what: told where it does not, or a function that says it then."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, f"not within {PATIENCE_S:g} s: {what() if callable(what) else what}"
        time.sleep(0.01)


def until_it_worked(pid: int, seconds: float) -> None:
    """Wait until a process has computed for so long from now on: others do not change how far it comes in that time."""

    def worked() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = worked()
    eventually(lambda: worked() >= before + seconds, f"process {pid} computes nothing")


def children_worked() -> float:
    """Seconds of processor time of all children of this process that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
