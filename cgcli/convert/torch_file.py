"""Reads a PyTorch weights file (pytorch_model.bin) without PyTorch, and without running its pickle.

Since PyTorch 1.6 the format is a zip without compression: <any>/data.pkl holds the state dict, a table of tensors,
<any>/data/<key> the storages that it refers to (torch/serialization.py, `_save`).

A pickle is a program that may call anything. The interpreter here knows the few opcodes that a state dict needs and
calls nothing: the names that such a table uses become plain values of ours, and any other name is refused. For the
meaning of the opcodes see CPython's Lib/pickletools.py.
"""

from __future__ import annotations

import re
import struct
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cgcli.convert.tensor import ITEM_BYTES, MAX_DIMENSIONS, StoredTensor, whole_numbers
from cgcli.core.errors import ModelFileError
from cgcli.core.model_files import HEAD_BYTES, check_kind
from cgcli.core.reading import shown

MAX_PICKLE_BYTES = 16 << 20  # that of CodeGen-16B has some 40 kB

_LEGACY_HEAD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the pickled magic number of torch/serialization.py
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip entry: magic, lengths of its name and of its extra field
# What zipfile and struct raise on a hostile directory.
_ZIP_ERRORS = (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, OverflowError, IndexError, EOFError)

_STORAGES = {
    "HalfStorage": "f16", "BFloat16Storage": "bf16", "FloatStorage": "f32", "DoubleStorage": "f64",
    "ByteStorage": "u8", "CharStorage": "i8", "BoolStorage": "bool",
    "ShortStorage": "i16", "IntStorage": "i32", "LongStorage": "i64",
}  # fmt: skip
# PyTorch's names for other types, such as complex ones, and for their storages (torch/storage.py).
_OTHER_STORAGE = re.compile(r"[A-Z][A-Za-z0-9]{0,30}Storage")
_OTHER_TYPE = re.compile(r"(float|complex|bits|u?int)[0-9]{1,3}[a-z0-9_]{0,20}")
_REBUILD_TENSOR = ("torch._utils", "_rebuild_tensor_v2")
_REBUILD_OTHER = ("torch._utils", "_rebuild_tensor_v3")  # of a type without a storage of its own
_REBUILD_PARAMETER = ("torch._utils", "_rebuild_parameter")
_KNOWN = {("collections", "OrderedDict"), _REBUILD_TENSOR, _REBUILD_OTHER, _REBUILD_PARAMETER}


def read_torch_file(path: Path) -> dict[str, StoredTensor]:
    """The tensors in `path` by name. Raises ModelFileError if it is damaged or not a table of tensors."""
    try:
        return _read(path)
    except _ZIP_ERRORS as error:
        raise _error(path, f"damaged zip: {shown(str(error))}") from None
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error


def _read(path: Path) -> dict[str, StoredTensor]:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(len(_LEGACY_HEAD))
        if head == _LEGACY_HEAD or head[:1] == b"\x80":
            raise ModelFileError(f"{path}: written by PyTorch before 1.6", hint="save it again with a newer PyTorch")
        if head[:2] != b"PK":
            check_kind(path, head + file.read(HEAD_BYTES), "zip")
            raise _error(path, f"not a PyTorch file: it begins with {shown(head[:4])}")
        with zipfile.ZipFile(file) as archive:
            entries: dict[str, zipfile.ZipInfo] = {}
            for entry in archive.infolist():
                if entry.filename in entries:
                    raise _error(path, f"has {shown(entry.filename)} twice")
                entries[entry.filename] = entry
        tables = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(tables) != 1:
            raise _error(path, f"has {len(tables)} data.pkl, expected one")
        prefix = tables[0].removesuffix("data.pkl")

        def place(name: str) -> tuple[int, int]:
            """Start and size in bytes of a stored entry."""
            entry = entries.get(prefix + name)
            if entry is None:
                raise _error(path, f"{shown(prefix + name)} is missing")
            if (
                entry.compress_type != zipfile.ZIP_STORED
                or entry.flag_bits & 1
                or entry.compress_size != entry.file_size
            ):
                raise _error(path, f"{shown(prefix + name)} is compressed or encrypted")
            file.seek(entry.header_offset)
            magic, name_length, extra_length = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
            start = entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length
            if magic != b"PK\3\4" or start + entry.file_size > size:
                raise _error(path, f"truncated or damaged: {shown(prefix + name)} is not where it should be")
            return start, entry.file_size

        def read_small(name: str) -> bytes:
            start, length = place(name)
            if length > MAX_PICKLE_BYTES:
                raise _error(path, f"{shown(prefix + name)} has {length} bytes (limit {MAX_PICKLE_BYTES})")
            file.seek(start)
            return file.read(length)

        if prefix + "byteorder" in entries and read_small("byteorder") != b"little":
            raise _error(path, "written on a big-endian machine")
        table = read_state_dict(read_small("data.pkl"), str(path))
        places = {key: place(f"data/{key}") for key in {tensor.storage.key for tensor in table.values()}}
    return {name: _stored(path, name, tensor, *places[tensor.storage.key]) for name, tensor in table.items()}


def _stored(path: Path, name: str, tensor: PickledTensor, start: int, length: int) -> StoredTensor:
    """Check a view against its storage, and the storage against its zip entry."""
    storage = tensor.storage
    item = ITEM_BYTES.get(storage.dtype, 0)  # 0: a type that no weight can have, never read
    if item and storage.size * item != length:
        raise _error(path, f"{shown(name)}: a storage of {storage.size} {storage.dtype} has {length} bytes")
    if len(tensor.shape) > MAX_DIMENSIONS:
        raise _error(path, f"{shown(name)} has {len(tensor.shape)} dimensions (limit {MAX_DIMENSIONS})")
    stored = StoredTensor(name, storage.dtype, tensor.shape, tensor.strides, path, start + tensor.offset * item)
    last = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
    # More elements than the storage has would be a view that repeats itself: small on disk, huge once read.
    if stored.size > storage.size or (stored.size and tensor.offset + last >= storage.size):
        raise _error(path, f"{shown(name)} of shape {list(tensor.shape)} exceeds its storage of {storage.size}")
    return stored


def _error(path: Path, what: str) -> ModelFileError:
    return ModelFileError(f"{path}: {what}")


@dataclass(frozen=True)
class _Global:
    """A global that the pickle refers to. It is never looked up."""

    module: str
    name: str


@dataclass(frozen=True)
class _Storage:
    """A run of numbers, stored as the zip entry data/<key>."""

    key: str
    dtype: str
    size: int  # elements


@dataclass(frozen=True)
class PickledTensor:
    """A view of a storage."""

    storage: _Storage
    offset: int  # in elements, as are the strides
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Mark:
    pass


def read_state_dict(data: bytes, path: str) -> dict[str, PickledTensor]:
    """The tensors of a pickled state dict by name. `path` is for errors.

    Raises ModelFileError for anything else that the pickle contains or refers to, naming it.
    """
    import pickletools

    machine = _Machine(path)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return machine.result()
            machine.step(opcode.name, argument)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise machine.fail(f"malformed pickle: {_first_line(error)}") from None
    raise machine.fail("malformed pickle: it has no end")


class _Machine:
    """Stack and memo of one pickle. Both grow by at most one entry an opcode, so the file's size bounds them."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def fail(self, what: str) -> ModelFileError:
        return ModelFileError(f"{self.path}: {what}")

    def result(self) -> dict[str, PickledTensor]:
        value = self.stack.pop()
        if not isinstance(value, dict):
            raise self.fail(f"the pickle is {_kind(value)}, not a table of tensors")
        for key, entry in value.items():
            if not isinstance(entry, PickledTensor):
                raise self.fail(f"the entry {shown(key)} is {_kind(entry)}, not a tensor")
        return value

    def step(self, opcode: str, argument: Any) -> None:
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                self.stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                self.stack.append(argument)
            case "BINUNICODE" | "SHORT_BINUNICODE":
                self.stack.append(argument)
            case "EMPTY_DICT":
                self.stack.append({})
            case "EMPTY_TUPLE":
                self.stack.append(())
            case "MARK":
                self.stack.append(_Mark)
            case "TUPLE":
                self.stack.append(tuple(self.pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.stack.append(tuple(self.pop(int(opcode[-1]))))
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "SETITEM":
                self.set_items(self.pop(2))
            case "SETITEMS":
                self.set_items(self.pop_to_mark())
            case "GLOBAL":
                self.stack.append(self.name(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                self.stack.append(self.name(*self.pop(2)))
            case "BINPERSID":
                self.stack.append(self.storage(*self.pop(1)))
            case "REDUCE":
                self.stack.append(self.build(*self.pop(2)))
            case "BUILD":
                self.skip_metadata(*self.pop(1))
            case "INST":
                raise self.refuse(*argument.split(" ", 1))
            case _:
                raise self.fail(f"refused: the pickle uses {opcode}, which tensors do not need")

    def pop(self, count: int) -> list[Any]:
        if len(self.stack) < count or any(value is _Mark for value in self.stack[-count:]):
            raise self.fail("malformed pickle: it takes more from its stack than it put there")
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def pop_to_mark(self) -> list[Any]:
        values = []
        while (value := self.stack.pop()) is not _Mark:
            values.append(value)
        return values[::-1]

    def set_items(self, values: list[Any]) -> None:
        table = self.stack[-1]
        if not isinstance(table, dict) or len(values) % 2:
            raise self.fail(f"the pickle adds entries to {_kind(table)}")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, str):
                raise self.fail(f"the pickle has a table with {_kind(key)} as a key")
            table[key] = value

    def name(self, module: Any, name: Any) -> _Global:
        if not isinstance(module, str) or not isinstance(name, str):
            raise self.fail("refused: the pickle refers to a global by something other than a name")
        of_torch = module in ("torch", "torch.storage") and _OTHER_STORAGE.fullmatch(name)
        if (module, name) not in _KNOWN and not of_torch and not (module == "torch" and _OTHER_TYPE.fullmatch(name)):
            raise self.refuse(module, name)
        return _Global(module, name)

    def refuse(self, module: str, name: str) -> ModelFileError:
        return self.fail(f"refused: the pickle refers to {shown(f'{module}.{name}')}, which tensors do not need")

    def storage(self, identity: Any) -> _Storage:
        match identity:
            case ("storage", _Global(name=kind), str(key), str(), int(size)) if kind.endswith("Storage"):
                if size >= 0 and key.isascii() and key.isalnum():
                    return _Storage(key, _STORAGES.get(kind, kind.removesuffix("Storage")), size)
        raise self.fail("the pickle refers to something outside that is not a storage")

    def build(self, function: Any, arguments: Any) -> Any:
        """What calling `function` would have made."""
        match function, arguments:
            case _Global(module="collections", name="OrderedDict"), ():
                return {}
            case _Global(name="_rebuild_tensor_v2"), (_Storage() as of, int(offset), tuple(shape), tuple(strides), *_):
                if whole_numbers((offset, *shape, *strides)) and len(shape) == len(strides):
                    return PickledTensor(of, offset, shape, strides)
            case _Global(name="_rebuild_tensor_v3"), (_Storage() as of, offset, shape, steps, _, _, _Global(name=kind)):
                return self.build(_Global(*_REBUILD_TENSOR), (replace(of, dtype=kind), offset, shape, steps))
            case _Global(name="_rebuild_parameter"), (PickledTensor() as tensor, *_):
                return tensor
        raise self.fail(f"the pickle calls {_kind(function)} with arguments that make no tensor")

    def skip_metadata(self, state: Any) -> None:
        """A state dict's OrderedDict may carry `_metadata`, the versions of modules: not needed."""
        if not (isinstance(self.stack[-1], dict) and isinstance(state, dict) and set(state) <= {"_metadata"}):
            raise self.fail(f"refused: the pickle sets the state of {_kind(self.stack[-1])}")


def _kind(value: Any) -> str:
    if isinstance(value, _Global):
        return f"{value.module}.{value.name}"
    return f"a {type(value).__name__}"


def _first_line(error: Exception) -> str:
    return shown((str(error).splitlines() or [type(error).__name__])[0])
