"""Reads JSON objects of a checkpoint. Whatever a file contains, the only error is a ModelFileError that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cgcli.core import reading
from cgcli.core.errors import ModelFileError
from cgcli.core.file_kinds import check_kind


def read_object(path: Path) -> dict[str, Any]:
    """The object in `path`. Raises ModelFileError."""
    try:
        data = reading.read_bytes(path)
    except OSError as error:
        raise reading.unreadable(path, error, ModelFileError) from error
    return parse_object(data, str(path))


def parse_object(data: bytes, name: str) -> dict[str, Any]:
    """The object in `data`; `name` is for errors. Raises ModelFileError."""
    try:
        value = reading.parse_json(data)
    except ValueError as error:
        check_kind(name, data, "text", "empty")
        raise ModelFileError(f"{name}: {error}") from None
    if not isinstance(value, dict):
        raise ModelFileError(f"{name}: has a JSON {type(value).__name__}, not an object")
    return value
