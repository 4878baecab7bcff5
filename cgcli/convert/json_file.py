"""Reads JSON that somebody else wrote: bounded, and every fault is one line that names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cgcli.core.errors import ModelFileError

MAX_SHOWN = 80  # characters
MAX_JSON_BYTES = 64 << 20  # tokenizer.json, the largest of them, has 3.6 MB


def read_json(path: Path) -> dict[str, Any]:
    """The object in `path`. Raises ModelFileError for anything else, and for an object that names a key twice."""
    try:
        if not path.is_file():
            raise ModelFileError(f"{path}: no such file")
        if path.stat().st_size > MAX_JSON_BYTES:
            raise ModelFileError(f"{path}: {path.stat().st_size} bytes are too many (limit {MAX_JSON_BYTES})")
        return parse_json(path.read_bytes(), str(path))
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error


def parse_json(data: bytes, name: str) -> dict[str, Any]:
    """The object in `data`; `name` is what errors call it."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_without_repeats)
    except RecursionError:
        raise ModelFileError(f"{name}: JSON nested too deeply") from None
    except ValueError as error:  # malformed JSON, malformed UTF-8, or a number of thousands of digits
        raise ModelFileError(f"{name}: not JSON: {str(error).splitlines()[0]}") from None
    if not isinstance(value, dict):
        raise ModelFileError(f"{name}: a JSON {type(value).__name__}, not an object")
    return value


def shown(value: object) -> str:
    """A value from a file as an error may show it: one line, not too long, whatever it is."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    text = ascii(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key is there twice")
    return value
