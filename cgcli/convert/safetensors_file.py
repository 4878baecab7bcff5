"""Reads the header of a safetensors file: names, types, shapes and places, all checked against the file's size.

The format: 8 bytes of header length, a JSON header, the data without gaps
(https://huggingface.co/docs/safetensors/index#format).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeGuard

from cgcli.convert.json_file import parse_json
from cgcli.convert.tensor import ITEM_BYTES, StoredTensor, contiguous
from cgcli.core.errors import ModelFileError
from cgcli.core.file_kinds import HEAD_BYTES, check_kind
from cgcli.core.reading import open_regular, shown, unreadable

MAX_HEADER_BYTES = 100_000_000  # the format's own limit
MAX_DIMENSIONS = 8
MAX_DTYPE = 32  # characters of a type's name
TYPES = {
    "F16": "f16", "BF16": "bf16", "F32": "f32", "F64": "f64",
    "U8": "u8", "I8": "i8", "BOOL": "bool", "I16": "i16", "I32": "i32", "I64": "i64",
}  # fmt: skip


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """The tensors in `path` by name. Raises ModelFileError for a file that is not what its header says."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(HEAD_BYTES)
            check_kind(path, head, "safetensors", "empty")
            length = int.from_bytes(head[:8], "little")
            if len(head) < 10 or not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
                said = f"{length} bytes of header in a file of {size}" if len(head) >= 10 else f"it has {size} bytes"
                raise _error(path, f"is not a safetensors file: {said}")
            file.seek(8)
            header = parse_json(file.read(length), str(path))
    except OSError as error:
        raise unreadable(path, error, ModelFileError) from error
    header.pop("__metadata__", None)
    data = 8 + length
    found: dict[str, StoredTensor] = {}
    extents: list[tuple[int, int, str]] = []
    for name, entry in header.items():
        label = shown(name)
        dtype, shape, begin, end = _entry(path, label, entry)
        elements = 1
        for dimension in shape:
            elements *= dimension
        if dtype in ITEM_BYTES and end - begin != elements * ITEM_BYTES[dtype]:
            raise _error(path, f"{label} lies at {begin}..{end}, which is not its size")
        found[name] = StoredTensor(name, dtype, shape, contiguous(shape), path, data + begin)
        extents.append((begin, end, label))
    at = 0
    for begin, end, label in sorted(extents):
        if begin != at:
            raise _error(path, f"{label} begins at {begin}, not at {at}: a gap or an overlap")
        at = end
    if at != size - data:
        raise _error(path, f"has {size - data} bytes of data, its tensors {at}")
    return found


def _entry(path: Path, label: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """Type, shape, begin and end of one entry of the header."""
    dtype = entry.get("dtype") if isinstance(entry, dict) else None
    if not isinstance(dtype, str):
        raise _error(path, f"{label} has no dtype")
    if not dtype.isidentifier() or len(dtype) > MAX_DTYPE:
        raise _error(path, f"{label} has the unknown dtype {shown(dtype)}")
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    if not _whole_numbers(shape) or len(shape) > MAX_DIMENSIONS:
        raise _error(path, f"{label} has the shape {shown(shape)}")
    if not _whole_numbers(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _error(path, f"{label} has the data_offsets {shown(offsets)}")
    return TYPES.get(dtype, dtype), tuple(shape), offsets[0], offsets[1]


def _whole_numbers(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(number) is int and 0 <= number < 1 << 62 for number in value)


def _error(path: Path, what: str) -> ModelFileError:
    return ModelFileError(f"{path}: {what}")
