"""Waiting in tests. How busy the machine is decides how long a test takes, never how it ends.

A test waits for what it wants to see and goes on at once; the limit is there only so that a fault ends with a message.
"""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 180.0
"""What takes less than a second alone takes less than this on a machine where others want every core."""


def eventually(condition: Callable[[], object], what: Callable[[], object] | str = "") -> None:
    """Wait until `condition` holds. what: told where it does not, or a function that says it then."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, f"not within {PATIENCE_S:g} s: {what() if callable(what) else what}"
        time.sleep(0.01)
