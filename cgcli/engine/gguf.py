"""Parses the header of a GGUF file: bounded, and fast enough to run before every load.

This module checks the container: counts, lengths, types, offsets. `gguf_check` checks the values in it. Neither reads
weights: the store's hash finds a flipped bit in a weight or in a token's text.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and `gguf_init_from_reader` in ggml/src/gguf.cpp.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cgcli.core.errors import ModelFileError
from cgcli.core.model_files import HEAD_BYTES, check_kind
from cgcli.core.reading import open_regular, unreadable
from cgcli.engine.ggml_types import FILE_TYPES, KIND_NAMES, TENSOR_TYPES
from cgcli.native.load import Strings, walk_strings

Scalar = int | float | bool | str
Value = Scalar | tuple[int | float | bool, ...]

MAX_ENTRIES = 65_536  # keys, and tensors: the largest published models have a few thousand
MAX_HEADER_BYTES = 64 << 20  # the header must end here; a vocabulary of 262,144 tokens takes 6 MB
MAX_STRING_BYTES = 16 << 20  # one value, such as a chat template
MAX_KEY_BYTES = 65_535
MIN_FILE_BYTES = 24  # magic, version and two counts
MAX_KEPT_ELEMENTS = 1024  # shorter arrays are kept as tuples; the longest ones needed have a number per layer

TOKENS = "tokenizer.ggml.tokens"
TOKEN_TYPES = "tokenizer.ggml.token_type"
NORMAL = 1  # enum llama_token_type of llama.h; the default for files without types
MAX_TOKEN_TYPE = 6  # LLAMA_TOKEN_TYPE_BYTE

_STRING, _ARRAY = 8, 9
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_SCALARS = {kind: struct.Struct(f"<{code}") for kind, code in _FORMATS.items()}
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_TENSOR = {n: struct.Struct(f"<{n}QIQ") for n in range(1, 5)}  # shape, type, offset


class Tensor(NamedTuple):
    """A tensor's place in the file."""

    name: str
    shape: tuple[int, ...]  # fastest dimension first, as in GGUF: a [rows, columns] matrix is (columns, rows)
    type: str
    offset: int  # from `GGUFHeader.data_offset`
    size: int  # bytes


class Array(NamedTuple):
    """Type and length of an array in the metadata. Long arrays and arrays of strings are not kept."""

    kind: str
    length: int


@dataclass(frozen=True)
class GGUFHeader:
    """The header of a GGUF file."""

    path: Path
    version: int
    metadata: Mapping[str, Value]  # scalars and short arrays of numbers
    kinds: Mapping[str, str]  # the type of each scalar, which llama.cpp insists on
    arrays: Mapping[str, Array]  # all arrays
    token_types: bytes  # one byte per token, of llama.h's enum llama_token_type
    byte_tokens: bool  # whether every byte has a token, `<0xNN>` or the byte itself; only of SentencePiece
    tensors: Mapping[str, Tensor]
    data_offset: int  # bytes
    file_size: int  # bytes

    @property
    def architecture(self) -> str:
        return str(self.metadata["general.architecture"])

    @property
    def context_length(self) -> int:
        """The context window that the model was trained with, in tokens."""
        value = self.metadata[f"{self.architecture}.context_length"]
        return value if isinstance(value, int) else 0

    @property
    def n_layer(self) -> int:
        value = self.metadata[f"{self.architecture}.block_count"]
        return value if isinstance(value, int) else 0

    @property
    def n_vocab(self) -> int:
        return len(self.token_types)

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors.values())

    @property
    def quant(self) -> str:
        """The file type, such as `q4_k_m`; if the file does not state it, the type of most of its bytes."""
        kind = self.metadata.get("general.file_type")
        if isinstance(kind, int) and kind in FILE_TYPES:
            return FILE_TYPES[kind]
        size: dict[str, int] = {}
        for tensor in self.tensors.values():
            size[tensor.type] = size.get(tensor.type, 0) + tensor.size
        return max(size, key=lambda name: size[name])

    def fail(self, what: str) -> ModelFileError:
        return _error(self.path, what)


def parse_header(path: Path) -> GGUFHeader:
    """Parse the header of `path`, without checking its values. Raises ModelFileError for a malformed file."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            check_kind(path, file.read(HEAD_BYTES), "gguf")
            if size < MIN_FILE_BYTES:
                raise _error(path, f"a file of {size} bytes is too short for a GGUF")
            with mmap.mmap(file.fileno(), min(size, MAX_HEADER_BYTES), access=mmap.ACCESS_COPY) as data:
                return _Parser(path, data, size).parse()
    except OSError as error:
        raise unreadable(path, error, ModelFileError) from error


def printable(name: str | bytes) -> str:
    """A name from a file in printable form: one line, no control characters, not too long."""
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    return ascii(text[:64] + ("..." if len(text) > 64 else ""))


def _error(path: Path, what: str) -> ModelFileError:
    return ModelFileError(f"{path}: {what}")


class _Parser:
    """One pass over the header. Python's integers do not wrap, so a false length only moves `at` past the end."""

    def __init__(self, path: Path, data: mmap.mmap, size: int) -> None:
        self.path = path
        self.data = data
        self.end = len(data)  # the header ends here at the latest
        self.size = size  # of the file
        self.at = 0
        self.metadata: dict[str, Value] = {}
        self.kinds: dict[str, str] = {}
        self.arrays: dict[str, Array] = {}
        self.token_types = b""
        self.tokens_at = 0  # where the vocabulary begins

    def parse(self) -> GGUFHeader:
        magic = self.data[:4]
        if magic != b"GGUF":
            raise self.fail(f"not a GGUF file: it begins with {printable(magic)}")
        self.at = 4
        version = self.u32("version")
        if version not in (2, 3):
            raise self.fail(f"GGUF version {version} is not supported, only 2 and 3 are")
        n_tensors, n_keys = self.u64("number of tensors"), self.u64("number of keys")
        for count, what in (n_tensors, "tensors"), (n_keys, "keys"):
            if count > MAX_ENTRIES:
                raise self.fail(f"has {count} {what}, but the limit is {MAX_ENTRIES}")
        for index in range(n_keys):
            self.entry(index)
        alignment = self.alignment()
        tensors = self.tensor_infos(n_tensors, alignment)
        data_offset = -(-self.at // alignment) * alignment
        self.check_extents(tensors, data_offset)
        count = self.arrays[TOKENS].length if TOKENS in self.arrays else 0
        return GGUFHeader(
            self.path, version, self.metadata, self.kinds, self.arrays, self.token_types or bytes([NORMAL]) * count,
            self.byte_tokens(), tensors, data_offset, self.size,
        )  # fmt: skip

    def fail(self, what: str) -> ModelFileError:
        return _error(self.path, what)

    def unpack(self, layout: struct.Struct, what: str) -> tuple[Any, ...]:
        try:
            values = layout.unpack_from(self.data, self.at)
        except (struct.error, OverflowError):
            raise self.fail(f"the header ends at byte {self.end}, in the middle of {what}") from None
        self.at += layout.size
        return values

    def u32(self, what: str) -> int:
        return int(self.unpack(_U32, what)[0])

    def u64(self, what: str) -> int:
        return int(self.unpack(_U64, what)[0])

    def string(self, what: str, limit: int) -> bytes:
        length = self.u64(f"the length of {what}")
        limit = min(limit, self.end - self.at)
        if length > limit:
            raise self.fail(f"{what} is {length} bytes long, but at most {limit} are possible")
        text = self.data[self.at : self.at + length]
        self.at += length
        return text

    def entry(self, index: int) -> None:
        """One key and its value."""
        raw = self.string(f"key {index}", MAX_KEY_BYTES)
        if not raw.isascii() or not raw.decode().isprintable() or not raw:
            raise self.fail(f"key {index} has the invalid name {printable(raw)}")
        key = raw.decode()
        if key in self.metadata or key in self.arrays:
            raise self.fail(f"duplicate key {printable(key)}")
        kind = self.u32(f"the type of {key}")
        if kind == _ARRAY:
            self.array(key)
        elif kind == _STRING:
            raw = self.string(key, MAX_STRING_BYTES)
            if b"\0" in raw:  # llama.cpp reads only up to it, so its value would not be the checked one
                raise self.fail(f"the text of key {printable(key)} contains a NUL byte")
            self.metadata[key] = raw.decode("utf-8", "replace")
            self.kinds[key] = "string"
        elif kind in _SCALARS:
            (self.metadata[key],) = self.unpack(_SCALARS[kind], key)
            self.kinds[key] = KIND_NAMES[kind]
        else:
            raise self.fail(f"key {printable(key)} has unknown type {kind}")

    def array(self, key: str) -> None:
        kind, count = self.u32(f"the type of {key}"), self.u64(f"the length of {key}")
        if kind != _STRING and kind not in _SCALARS:
            raise self.fail(f"array {printable(key)} has unknown type {kind}")
        smallest = 8 if kind == _STRING else _SCALARS[kind].size
        if count * smallest > self.end - self.at:
            raise self.fail(f"array {printable(key)} has {count} elements, which exceed the header")
        if kind == _STRING:
            self.tokens(count) if key == TOKENS else self.strings(key, count)
        elif key == TOKEN_TYPES:
            self.types(kind, count)
        else:
            if count <= MAX_KEPT_ELEMENTS:
                self.metadata[key] = struct.unpack_from(f"<{count}{_FORMATS[kind]}", self.data, self.at)
            self.at += count * smallest
        self.arrays[key] = Array(KIND_NAMES[kind], count)

    def strings(self, key: str, count: int) -> None:
        """Skip strings. Checks their lengths, and that none has a NUL byte, where llama.cpp would stop reading."""
        found = walk_strings(self.data, self.at, count, repeated=False) if count else Strings()
        if found.bytes > self.end - self.at:
            raise self.fail(f"a string of array {printable(key)} exceeds the header")
        if found.with_nul:
            raise self.fail(f"a string of array {printable(key)} contains a NUL byte")
        self.at += found.bytes

    def tokens(self, count: int) -> None:
        """Skip the vocabulary. Checks that no text repeats, on which llama.cpp aborts."""
        found = walk_strings(self.data, self.at, count, repeated=True) if count else Strings()
        if found.bytes > self.end - self.at:
            raise self.fail("the vocabulary exceeds the header")
        if found.with_nul:
            raise self.fail("a token of the vocabulary contains a NUL byte")
        if found.repeated:
            raise self.fail(f"the vocabulary has {found.repeated} duplicate tokens")
        # llama.cpp's name for a token without text
        if found.empty and any(text.startswith(b"[EMPTY_") for text in self.texts(self.at, count)):
            raise self.fail("the vocabulary has a token named [EMPTY_... and a token without text")
        self.tokens_at = self.at
        self.at += found.bytes

    def texts(self, at: int, count: int) -> Iterator[bytes]:
        """Strings that were walked."""
        for _ in range(count):
            begin = at + _U64.size
            at = begin + _U64.unpack_from(self.data, at)[0]
            yield self.data[begin:at]

    def types(self, kind: int, count: int) -> None:
        if KIND_NAMES[kind] != "i32":
            raise self.fail(f"{TOKEN_TYPES} is an array of {KIND_NAMES[kind]}, not i32")
        raw = self.data[self.at : self.at + 4 * count]
        self.token_types = raw[::4]  # little-endian: the low bytes
        high = any(raw[offset::4].strip(b"\0") for offset in (1, 2, 3))
        if high or max(self.token_types, default=0) > MAX_TOKEN_TYPE:
            raise self.fail(f"{TOKEN_TYPES} has a value outside 0..{MAX_TOKEN_TYPE}")
        self.at += 4 * count

    def byte_tokens(self) -> bool:
        if self.metadata.get("tokenizer.ggml.model") != "llama" or TOKENS not in self.arrays:
            return False
        texts = set(self.texts(self.tokens_at, self.arrays[TOKENS].length))
        return all(b"<0x%02X>" % byte in texts or bytes([byte]) in texts for byte in range(256))

    def alignment(self) -> int:
        value = self.metadata.get("general.alignment", 32)
        # ggml asserts that a mapped file is aligned to 32 bytes, as its buffers are.
        if type(value) is not int or not 32 <= value <= 65_536 or value & (value - 1):
            raise self.fail(f"general.alignment must be a power of two from 32 to 65536, but is {value}")
        return value

    def tensor_infos(self, count: int, alignment: int) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {}
        expected = 0
        for index in range(count):
            raw = self.string(f"the name of tensor {index}", 63)  # GGML_MAX_NAME - 1
            if not raw.isascii() or not raw.decode().isprintable() or not raw:
                raise self.fail(f"tensor {index} has the invalid name {printable(raw)}")
            name = raw.decode()
            if name in tensors:
                raise self.fail(f"duplicate tensor {name}")
            n_dimensions = self.u32(f"the shape of {name}")
            if not 1 <= n_dimensions <= 4:
                raise self.fail(f"tensor {name} has {n_dimensions} dimensions, not 1 to 4")
            *shape, kind, offset = self.unpack(_TENSOR[n_dimensions], name)
            tensor = self.measure(name, tuple(shape), kind, offset)
            if offset != expected:
                raise self.fail(f"tensor {name} is at offset {offset}, but must be at {expected}")
            expected += -(-tensor.size // alignment) * alignment
            tensors[name] = tensor
        return tensors

    def measure(self, name: str, shape: tuple[int, ...], kind: int, offset: int) -> Tensor:
        if kind not in TENSOR_TYPES:
            raise self.fail(f"tensor {name} has type {kind}, which is not a type for weights")
        type_name, block, block_bytes = TENSOR_TYPES[kind]
        elements = math.prod(shape)
        if not 0 < elements < 1 << 62:
            raise self.fail(f"tensor {name} has the impossible shape {list(shape)}")
        if shape[0] % block:
            raise self.fail(f"tensor {name} has rows of {shape[0]}, but {type_name} needs a multiple of {block}")
        return Tensor(name, shape, type_name, offset, elements // block * block_bytes)

    def check_extents(self, tensors: Mapping[str, Tensor], data_offset: int) -> None:
        for tensor in tensors.values():
            end = data_offset + tensor.offset + tensor.size
            if end > self.size:
                raise self.fail(f"the file ends at byte {self.size}, but tensor {tensor.name} at {end}")
