"""Saves the cached state of a text to a file, so that the text need not be read again to continue it.

A file is valid only for the model, quantization and version of llama.cpp that it was made with; others are rejected, as
are damaged files. It contains the tokens of the text, not the text.
"""

from __future__ import annotations

import ctypes
import json
import math
import struct
import time
import zlib
from array import array
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cgcli.core.errors import CgcliError
from cgcli.core.files import disk_error, temporary
from cgcli.core.reading import parse_json, read_bytes, unreadable
from cgcli.core.typed import typed
from cgcli.engine.binding import llama
from cgcli.engine.cache import Branch, KVCache

_MAGIC = b"cgcli state 3\n"
MAX_BYTES = 1 << 29  # of the state itself
_CHUNK = 1 << 23  # bytes
_LEAST_BYTES_PER_S = 1 << 29  # that llama.cpp copies, at the very least; it cannot be stopped
WORTH = 64  # tokens; shorter texts are as fast to read again


@dataclass(frozen=True)
class _Header:
    """The facts that must match to load a state."""

    model: str  # sha256 of the GGUF file
    llama: str
    exact: bool
    own_attention: bool  # its cells lie differently in memory
    tokens: int


@dataclass(frozen=True)
class State:
    """The cached state of some tokens, in llama.cpp's format for a sequence."""

    tokens: list[int]
    data: ctypes.Array[ctypes.c_uint8]


def state_bytes(cache: KVCache, branch: Branch) -> int:
    """The size of a branch's state."""
    return int(llama().api.llama_state_seq_get_size(cache.context.pointer, branch.sequence))


def copy_state(cache: KVCache, branch: Branch) -> ctypes.Array[ctypes.c_uint8]:
    """A copy of a branch's state, in llama.cpp's format."""
    data = (ctypes.c_uint8 * state_bytes(cache, branch))()
    written = llama().api.llama_state_seq_get_data(cache.context.pointer, data, len(data), branch.sequence)
    return data if written == len(data) else (ctypes.c_uint8 * written).from_buffer(data)


def save_state(cache: KVCache, branch: Branch, path: Path, model: str, *, seconds: float = math.inf) -> bool:
    """Save the state of a branch to a file that only the user can read. model: sha256 of the GGUF file.

    Saves nothing and returns False if the state is larger than MAX_BYTES or takes longer than `seconds` to save. It is
    not synced to the disk: a damaged file is noticed and costs nothing but reading the text again. Raises CgcliError if
    writing fails.
    """
    until = time.monotonic() + seconds
    size = state_bytes(cache, branch)
    if size > MAX_BYTES or size > seconds * _LEAST_BYTES_PER_S:
        return False
    data = copy_state(cache, branch)
    facts = _Header(model, _llama(), cache.exact, cache.model.own_attention, len(branch.tokens))
    header = json.dumps(asdict(facts)).encode()
    begin = struct.pack("<I", len(header)) + header + array("i", branch.tokens).tobytes()
    body = memoryview(data).cast("B")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with temporary(path) as beside, beside.open("wb") as file:  # the mode of a temporary file is 0600
            file.write(_MAGIC + struct.pack("<I", zlib.crc32(body, zlib.crc32(begin))) + begin)
            for at in range(0, len(body), _CHUNK):
                if time.monotonic() > until:
                    return False
                file.write(body[at : at + _CHUNK])
            file.flush()
            beside.replace(path)
    except OSError as error:
        raise disk_error(path, error) from error
    return True


def load_state(path: Path, model: str, *, exact: bool, own_attention: bool) -> State:
    """Load a state. Raises CgcliError if it is damaged, or made by another model, llama.cpp or mode."""
    try:
        content = memoryview(read_bytes(path, MAX_BYTES + (1 << 24)))
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
    if replace(header, tokens=0) != _Header(model, _llama(), exact, own_attention, 0):
        raise CgcliError(f"{path}: the saved state is of another model or version", hint=f"delete it: rm {path}")
    data = end + 4 * header.tokens
    if not end <= data <= len(body):
        raise CgcliError(f"{path}: the saved state is damaged", hint=f"delete it: rm {path}")
    tokens = array("i", bytes(body[end:data])).tolist()
    return State(tokens, (ctypes.c_uint8 * (len(body) - data)).from_buffer_copy(body, data))


def _llama() -> str:
    from importlib.metadata import version  # 8 ms

    return version("llama-cpp-python")
