"""The command line in a process that a signal ends at a step that the test names, so that no test waits for one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

from tests.support.process import Ran

_PROGRAM = """
import importlib, os, sys
step, number, *arguments = sys.argv[1:]
module, _, name = step.rpartition(".")
setattr(importlib.import_module(module), name, lambda *_, **__: os.kill(os.getpid(), int(number)))
from cgcli.cli.main import main
sys.exit(main(arguments))
"""


def ended_at(step: str, number: signal.Signals, *arguments: str, **variables: Any) -> Ran:
    """Run `cgcli` in the test's own home until it calls `step`, a function by its module: there it sends itself the
    signal. A negative status is that of a process which the signal itself ended."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, step, str(int(number)), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, **variables},
        timeout=300,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr.decode())
