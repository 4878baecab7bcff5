"""Running the command line inside the test's process: both streams and the status, without the cost of a new process.

For everything that needs no real process. Signals, closed descriptors, terminals and start-up need one:
`tests.support.process.cgcli`.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from cgcli.cli.main import main
from tests.support.process import Ran


def run(*arguments: str, stdin: bytes | None = b"", **variables: Any) -> Ran:
    """Run `cgcli` with these arguments in the test's own home (see conftest.py).

    stdin: what a file on standard input holds; /dev/null for None. variables: set in the environment for this run.
    """
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
    logger = logging.getLogger("cgcli")
    level, handlers = logger.level, logger.handlers
    with tempfile.TemporaryFile() if stdin is not None else Path(os.devnull).open("rb") as fed:
        if stdin:
            fed.write(stdin)
            fed.seek(0)
        reading = io.TextIOWrapper(fed)
        streams: Any = {"stdin": reading, "stdout": out, "stderr": err}
        with mock.patch.multiple(sys, **streams), mock.patch.dict(os.environ, variables):
            try:
                status = main(arguments)
            finally:
                logger.level, logger.handlers = level, handlers
        reading.detach()
    out.flush()
    err.flush()
    written = out.buffer, err.buffer
    assert isinstance(written[0], io.BytesIO) and isinstance(written[1], io.BytesIO)
    return Ran(status, written[0].getvalue(), written[1].getvalue().decode())
