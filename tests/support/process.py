"""Running `cgcli` as a process: both streams and the status."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from tests.support.patience import PATIENCE_S

CGCLI = [sys.executable, "-m", "cgcli"]
"""The command that starts it, for tests that need more than its end."""


@dataclass(frozen=True)
class Ran:
    status: int
    out: bytes
    err: str


def cgcli(*arguments: str, stdin: bytes = b"", stdout: int | None = None, **variables: Any) -> Ran:
    """Run it in the test's own home (see conftest.py). stdin: what it can read; stdout: a descriptor to write to."""
    done = subprocess.run(
        [*CGCLI, *arguments],
        input=stdin,
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, **variables},
        timeout=PATIENCE_S,
        check=False,
    )
    return Ran(done.returncode, done.stdout or b"", done.stderr.decode())
