"""JSON objects of a checkpoint that somebody else wrote: every fault is a ModelFileError in one line, with the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cgcli.core import reading
from cgcli.core.errors import ModelFileError
from cgcli.core.file_kinds import check_kind


def read_json(path: Path) -> dict[str, Any]:
    """The object in `path`. Raises ModelFileError for anything else."""
    try:
        data = reading.read_bytes(path)
    except OSError as error:
        raise reading.unreadable(path, error, ModelFileError) from error
    return parse_json(data, str(path))


def parse_json(data: bytes, name: str) -> dict[str, Any]:
    """The object in `data`; `name` is what errors call it."""
    try:
        value = reading.parse_json(data)
    except ValueError as error:
        check_kind(name, data, "text", "empty")
        raise ModelFileError(f"{name}: {error}") from None
    if not isinstance(value, dict):
        raise ModelFileError(f"{name}: a JSON {type(value).__name__}, not an object")
    return value
