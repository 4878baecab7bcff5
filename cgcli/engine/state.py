"""What the cache knows of a text, in a file: so that a program can be gone on with, without reading it again.

The file is only good for the model, its quantization and the version of llama.cpp that it was made with; anything else
is refused, as is a damaged one. It holds no text, but the tokens of one.
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
WORTH = 64
"""Tokens below which reading a text again is as fast."""


@dataclass(frozen=True)
class _Header:
    """What must agree. model: sha256 of the GGUF file."""

    model: str
    llama: str
    exact: bool
    tokens: int


@dataclass(frozen=True)
class State:
    """What the cache knew of these tokens, as llama.cpp writes it down for a sequence."""

    tokens: list[int]
    data: ctypes.Array[ctypes.c_uint8]


def save(cache: KVCache, branch: Branch, path: Path, model: str) -> None:
    """Write the state of a branch. model: sha256 of the GGUF file. Raises CgcliError where the disk says no."""
    api, pointer = library().api, cache.context.pointer
    size = api.llama_state_seq_get_size(pointer, branch.sequence)
    data = (ctypes.c_uint8 * size)()
    written = api.llama_state_seq_get_data(pointer, data, size, branch.sequence)
    header = json.dumps(asdict(_Header(model, _llama(), cache.exact, len(branch.tokens)))).encode()
    parts = (struct.pack("<I", len(header)), header, array("i", branch.tokens).tobytes(), memoryview(data)[:written])
    body = b"".join(parts)
    write_atomic(path, b"".join((_MAGIC, struct.pack("<I", zlib.crc32(body)), body)))


def load(path: Path, model: str, *, exact: bool) -> State:
    """The state of a file. Raises CgcliError where it is damaged, or of another model, llama.cpp or way of decoding."""
    try:
        with open_regular(path) as file:
            content = memoryview(file.read())
    except OSError as error:
        raise unreadable(path, error) from error
    start = len(_MAGIC) + 4
    if content[: len(_MAGIC)] != _MAGIC:
        raise CgcliError(f"{path} is not a state of cgcli", hint=f"delete it: rm {path}")
    body = content[start:]
    if len(body) < 4 or content[len(_MAGIC) : start] != struct.pack("<I", zlib.crc32(body)):
        raise CgcliError(f"{path}: the state is damaged", hint=f"delete it: rm {path}")
    end = 4 + int.from_bytes(body[:4], "little")
    try:
        header: _Header = typed(_Header, parse_json(bytes(body[4:end])), "header")
    except ValueError as error:
        raise CgcliError(f"{path}: the state is damaged: {error}", hint=f"delete it: rm {path}") from error
    if (header.model, header.llama, header.exact) != (model, _llama(), exact):
        raise CgcliError(f"{path}: the state is of another model or version", hint="it is made anew: nothing to do")
    data = end + 4 * header.tokens
    if not end <= data <= len(body):
        raise CgcliError(f"{path}: the state is damaged", hint=f"delete it: rm {path}")
    tokens = array("i", bytes(body[end:data])).tolist()
    return State(tokens, (ctypes.c_uint8 * (len(body) - data)).from_buffer_copy(body, data))


def _llama() -> str:
    return version("llama-cpp-python")
