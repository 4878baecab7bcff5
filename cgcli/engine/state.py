"""Saves the cached state of a text to a file, so that the text need not be read again to continue it.

A file is valid only for the model, quantization and version of llama.cpp that it was made with; others are rejected, as
are damaged files. It contains the tokens of the text, not the text.
"""

from __future__ import annotations

import ctypes
import json
import struct
import zlib
from array import array
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from cgcli.core.errors import CgcliError
from cgcli.core.files import write_atomic
from cgcli.core.reading import open_regular, parse_json, unreadable
from cgcli.core.typed import typed
from cgcli.engine.binding import library
from cgcli.engine.cache import Branch, KVCache

_MAGIC = b"cgcli state 2\n"
WORTH = 64  # tokens; shorter texts are as fast to read again


@dataclass(frozen=True)
class _Header:
    """What must match."""

    model: str  # sha256 of the GGUF file
    llama: str
    exact: bool
    tokens: int


@dataclass(frozen=True)
class State:
    """The cached state of some tokens, in llama.cpp's format for a sequence."""

    tokens: list[int]
    data: ctypes.Array[ctypes.c_uint8]


def save(cache: KVCache, branch: Branch, path: Path, model: str) -> None:
    """Save the state of a branch. model: sha256 of the GGUF file. Raises CgcliError if writing fails."""
    api, pointer = library().api, cache.context.pointer
    size = api.llama_state_seq_get_size(pointer, branch.sequence)
    data = (ctypes.c_uint8 * size)()
    written = api.llama_state_seq_get_data(pointer, data, size, branch.sequence)
    header = json.dumps(asdict(_Header(model, _llama(), cache.exact, len(branch.tokens)))).encode()
    parts = (struct.pack("<I", len(header)), header, array("i", branch.tokens).tobytes(), memoryview(data)[:written])
    body = b"".join(parts)
    write_atomic(path, b"".join((_MAGIC, struct.pack("<I", zlib.crc32(body)), body)))


def load(path: Path, model: str, *, exact: bool) -> State:
    """Load a state. Raises CgcliError if it is damaged, or made by another model, llama.cpp or mode."""
    try:
        with open_regular(path) as file:
            content = memoryview(file.read())
    except OSError as error:
        raise unreadable(path, error) from error
    start = len(_MAGIC) + 4
    if content[: len(_MAGIC)] != _MAGIC:
        raise CgcliError(f"{path} is not a saved state of cgcli", hint=f"delete it: rm {path}")
    body = content[start:]
    if len(body) < 4 or content[len(_MAGIC) : start] != struct.pack("<I", zlib.crc32(body)):
        raise CgcliError(f"{path}: the saved state is damaged", hint=f"delete it: rm {path}")
    end = 4 + int.from_bytes(body[:4], "little")
    try:
        header: _Header = typed(_Header, parse_json(bytes(body[4:end])), "header")
    except ValueError as error:
        raise CgcliError(f"{path}: the saved state is damaged: {error}", hint=f"delete it: rm {path}") from error
    if (header.model, header.llama, header.exact) != (model, _llama(), exact):
        raise CgcliError(f"{path}: the saved state is of another model or version", hint=f"delete it: rm {path}")
    data = end + 4 * header.tokens
    if not end <= data <= len(body):
        raise CgcliError(f"{path}: the saved state is damaged", hint=f"delete it: rm {path}")
    tokens = array("i", bytes(body[end:data])).tolist()
    return State(tokens, (ctypes.c_uint8 * (len(body) - data)).from_buffer_copy(body, data))


def _llama() -> str:
    return version("llama-cpp-python")
