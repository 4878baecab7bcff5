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
from cgcli.engine.binding import library
from cgcli.engine.cache import Branch, Cache

_MAGIC = b"cgcli state 1\n"
WORTH = 64
"""Tokens below which reading a text again is as fast."""


@dataclass(frozen=True)
class _Header:
    """What must agree. model: sha256 of the GGUF file; checksum: CRC-32 of all that follows the header."""

    model: str
    llama: str
    exact: bool
    tokens: int
    bytes: int
    checksum: int


def save(cache: Cache, branch: Branch, path: Path, model: str) -> None:
    """Write the state of a branch. model: sha256 of the GGUF file. Raises CgcliError where the disk says no."""
    api, pointer = library().api, cache.context.pointer
    size = api.llama_state_seq_get_size(pointer, branch.sequence)
    data = (ctypes.c_uint8 * size)()
    written = api.llama_state_seq_get_data(pointer, data, size, branch.sequence)
    body = array("i", branch.tokens).tobytes() + bytes(memoryview(data)[:written])
    header = _Header(model, _llama(), cache.exact, len(branch.tokens), len(body), zlib.crc32(body))
    text = json.dumps(asdict(header)).encode()
    write_atomic(path, _MAGIC + struct.pack("<I", len(text)) + text + body)


def load(cache: Cache, path: Path, model: str) -> Branch:
    """A branch with the state of a file, held once. There must be room (see `tokens_in`).

    Raises CgcliError where the file is damaged, or of another model, llama.cpp or way of decoding.
    """
    header, body = _read(path)
    if (header.model, header.llama, header.exact) != (model, _llama(), cache.exact):
        raise CgcliError(f"{path}: the state is of another model or version", hint="it is made anew: nothing to do")
    if zlib.crc32(body) != header.checksum or len(body) != header.bytes:
        raise CgcliError(f"{path}: the state is damaged", hint=f"delete it: rm {path}")
    tokens = array("i", body[: 4 * header.tokens])
    data = (ctypes.c_uint8 * (len(body) - 4 * header.tokens)).from_buffer_copy(body, 4 * header.tokens)
    return cache.adopt(tokens.tolist(), data)


def tokens_in(path: Path) -> int:
    """How many tokens the state of a file has. Raises CgcliError where it is none."""
    return _read(path, body=False)[0].tokens


def _read(path: Path, *, body: bool = True) -> tuple[_Header, bytes]:
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise ValueError
            (size,) = struct.unpack("<I", file.read(4))
            if size > 4096:
                raise ValueError
            header = _Header(**json.loads(file.read(size)))
            if not isinstance(header.tokens, int):
                raise ValueError
            return header, file.read() if body else b""
    except OSError as error:
        raise CgcliError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, struct.error):
        raise CgcliError(f"{path} is not a state of cgcli", hint=f"delete it: rm {path}") from None


def _llama() -> str:
    return version("llama-cpp-python")
