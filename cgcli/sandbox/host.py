"""A program on this machine as it is: what `unsafe` asks for by name. It may do whatever the user may.

The limits keep an honest program from filling the memory or running for ever; they keep no other one from anything.
"""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cgcli.sandbox.interpreter import command
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.watch import Start


@contextmanager
def on_host(
    source: bytes, name: str, arguments: Sequence[str], policy: Policy, checks: Sequence[str] = ()
) -> Iterator[Start]:
    """The program in the interpreter that runs cgcli, with all its packages."""
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryFile() as file:
        file.write(source)
        file.seek(0)
        path = f"/dev/fd/{file.fileno()}"
        report = theirs.fileno()
        words = command(Path(sys.executable), path, name, arguments, policy, checks, report=report, sandbox=False)
        yield Start(words, ours, (report, file.fileno()), isolated=False)
