"""How a checkpoint that cannot be converted is to be refused, and how to see that it is."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from cgcli.convert.convert import convert
from cgcli.convert.writer import Provenance
from cgcli.core.errors import ExitStatus, ModelFileError
from cgcli.core.progress import Silent


def refused(source: Path, target: Path) -> str:
    """The message with which the checkpoint in `source` is refused, without the path before it."""
    start = time.process_time()
    with pytest.raises(ModelFileError) as caught:
        convert(source, target, quant="f16", provenance=Provenance("x"), progress=Silent(), threads=1)
    message = caught.value.message
    assert caught.value.status == ExitStatus.MODEL_FILE
    assert message.isprintable() and len(message) < 3 * len(str(source)) + 400
    assert time.process_time() - start < 10  # of the processor: others may use the machine
    assert not target.exists() and not list(target.parent.glob(".*"))
    return message


def match(pattern: str, message: str) -> None:
    assert re.search(pattern, message), f"{pattern!r} is not in {message!r}"
