"""How long a start takes: 80 ms for the version, 400 ms for the help. The limits are contracts.

Held to them is the work that a start is, not its seconds, which depend on the machine and on who else uses it: the
calls of functions in Python, of which a machine of 2024 makes a million in a second, imports included.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.patience import PATIENCE_S

COUNTED = """
import sys
calls = 0
def count(frame, event, argument):
    global calls
    calls += event in ("call", "c_call")
from cgcli import __main__
sys.setprofile(count)
__main__.main()
sys.setprofile(None)
sys.stderr.write(str(calls))
"""


@pytest.mark.parametrize(("words", "limit"), [("--version", 50), ("--help", 500_000)])
def test_within_the_limit(words: str, limit: int) -> None:
    command = [sys.executable, "-c", COUNTED, words]
    subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=True)  # what is compiled is kept
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=True)
    assert 0 < int(done.stderr) < limit
