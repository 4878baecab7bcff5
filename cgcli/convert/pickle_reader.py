"""Reads the pickle of a PyTorch state dict without running it.

A pickle is a program that may call anything. This is an interpreter of its own for the few opcodes that a table of
tensors needs, in which nothing is ever called: the names that such a table uses become plain values of ours, any other
name is refused. What the opcodes mean: CPython's Lib/pickletools.py. It knows nothing of files or of numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from cgcli.core.errors import ModelFileError
from cgcli.core.reading import shown

STORAGES = {
    "HalfStorage": "f16", "BFloat16Storage": "bf16", "FloatStorage": "f32", "DoubleStorage": "f64",
    "ByteStorage": "u8", "CharStorage": "i8", "BoolStorage": "bool",
    "ShortStorage": "i16", "IntStorage": "i32", "LongStorage": "i64",
}  # fmt: skip
ORDERED_DICT = ("collections", "OrderedDict")
# A name that PyTorch gives to the storage of another type, complex or untyped, or to such a type (torch/storage.py).
OTHER_STORAGE = re.compile(r"[A-Z][A-Za-z0-9]{0,30}Storage")
OTHER_TYPE = re.compile(r"(float|complex|bits|u?int)[0-9]{1,3}[a-z0-9_]{0,20}")
REBUILD_TENSOR = ("torch._utils", "_rebuild_tensor_v2")
REBUILD_OTHER = ("torch._utils", "_rebuild_tensor_v3")  # of a type without a storage of its own
REBUILD_PARAMETER = ("torch._utils", "_rebuild_parameter")


@dataclass(frozen=True)
class Name:
    """A global that the pickle asks for; never looked up."""

    module: str
    name: str


@dataclass(frozen=True)
class Storage:
    """A run of numbers, stored as the zip entry data/<key>."""

    key: str
    dtype: str
    size: int  # elements


@dataclass(frozen=True)
class PickledTensor:
    """A view of a storage; offset and strides in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Mark:
    pass


def read_state_dict(data: bytes, path: str) -> dict[str, PickledTensor]:
    """The tensors of a pickled state dict by name. `path` is what errors call it.

    Raises ModelFileError, naming it, for whatever else the pickle has or asks for.
    """
    import pickletools

    machine = _Machine(path)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return machine.result()
            machine.step(opcode.name, argument)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise machine.fail(f"the pickle is malformed: {_first_line(error)}") from None
    raise machine.fail("the pickle does not end")


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
            raise self.fail(f"the pickle is not a table of tensors but {_kind(value)}")
        for key, entry in value.items():
            if not isinstance(entry, PickledTensor):
                raise self.fail(f"the entry {shown(key)} is not a tensor but {_kind(entry)}")
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
                raise self.fail(f"the pickle uses {opcode}, which no table of tensors needs: refused")

    def pop(self, count: int) -> list[Any]:
        if len(self.stack) < count or any(value is _Mark for value in self.stack[-count:]):
            raise self.fail("the pickle is malformed: it takes more from its stack than there is")
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
            raise self.fail(f"the pickle puts entries into {_kind(table)}")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, str):
                raise self.fail(f"the pickle has a table with {_kind(key)} as a key")
            table[key] = value

    def name(self, module: Any, name: Any) -> Name:
        known = {ORDERED_DICT, REBUILD_TENSOR, REBUILD_OTHER, REBUILD_PARAMETER}
        if not isinstance(module, str) or not isinstance(name, str):
            raise self.fail("the pickle asks for something that has no name: refused")
        of_torch = module in ("torch", "torch.storage") and OTHER_STORAGE.fullmatch(name)
        if (module, name) not in known and not of_torch and not (module == "torch" and OTHER_TYPE.fullmatch(name)):
            raise self.refuse(module, name)
        return Name(module, name)

    def refuse(self, module: str, name: str) -> ModelFileError:
        return self.fail(f"the pickle asks for {shown(f'{module}.{name}')}, which no tensor needs: refused")

    def storage(self, identity: Any) -> Storage:
        match identity:
            case ("storage", Name(name=kind), str(key), str(), int(size)) if kind.endswith("Storage"):
                if size >= 0 and key.isascii() and key.isalnum():
                    return Storage(key, STORAGES.get(kind, kind.removesuffix("Storage")), size)
        raise self.fail("the pickle refers to something outside of it that is not a storage")

    def build(self, function: Any, arguments: Any) -> Any:
        """What calling `function` would have made."""
        match function, arguments:
            case Name(module="collections", name="OrderedDict"), ():
                return {}
            case Name(name="_rebuild_tensor_v2"), (Storage() as storage, int(offset), tuple(shape), tuple(strides), *_):
                if _whole_numbers((offset, *shape, *strides)) and len(shape) == len(strides):
                    return PickledTensor(storage, offset, shape, strides)
            case Name(name="_rebuild_tensor_v3"), (Storage() as storage, offset, shape, strides, _, _, Name(name=kind)):
                return self.build(Name(*REBUILD_TENSOR), (replace(storage, dtype=kind), offset, shape, strides))
            case Name(name="_rebuild_parameter"), (PickledTensor() as tensor, *_):
                return tensor
        raise self.fail(f"the pickle calls {_kind(function)} with arguments that make no tensor")

    def skip_metadata(self, state: Any) -> None:
        """An OrderedDict of a state dict may carry `_metadata`, versions of modules: not needed."""
        if not (isinstance(self.stack[-1], dict) and isinstance(state, dict) and set(state) <= {"_metadata"}):
            raise self.fail(f"the pickle sets the state of {_kind(self.stack[-1])}: refused")


def _whole_numbers(values: tuple[Any, ...]) -> bool:
    return all(type(value) is int and 0 <= value < 1 << 62 for value in values)


def _kind(value: Any) -> str:
    if isinstance(value, Name):
        return f"{value.module}.{value.name}"
    return f"a {type(value).__name__}"


def _first_line(error: Exception) -> str:
    return shown((str(error).splitlines() or [type(error).__name__])[0])
