"""JSON objects of a checkpoint that somebody else wrote: every fault is a ModelFileError in one line, with the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cgcli.core import reading
from cgcli.core.errors import ModelFileError


def read_json(path: Path) -> dict[str, Any]:
    """The object in `path`. Raises ModelFileError for anything else."""
    return _object(reading.read_json(path, ModelFileError), str(path))


def parse_json(data: bytes, name: str) -> dict[str, Any]:
    """The object in `data`; `name` is what errors call it."""
    try:
        return _object(reading.parse_json(data), name)
    except ValueError as error:
        raise ModelFileError(f"{name}: {error}") from None


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ModelFileError(f"{name}: a JSON {type(value).__name__}, not an object")
    return value
