"""Checkpoints for tests: the golden one, changed and written anew in any of the Hub's formats."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgcli.convert.checkpoint import open_checkpoint
from cgcli.convert.tensor import WEIGHT_TYPES

GOLDEN = Path(__file__).parents[1] / "golden" / "checkpoint"
TEXTS = ("config.json", "vocab.json", "merges.txt", "added_tokens.json")
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
TORCH_STORAGES = {
    "f16": "HalfStorage", "f32": "FloatStorage", "f64": "DoubleStorage", "bf16": "BFloat16Storage",
    "bool": "BoolStorage",
}  # fmt: skip
SAFETENSORS_TYPES = {"f16": "F16", "f32": "F32", "f64": "F64", "bf16": "BF16"}

Weights = Mapping[str, NDArray[np.float32]]


def golden_weights() -> dict[str, NDArray[np.float32]]:
    """The golden checkpoint's weights by name, as float32."""
    tensors = open_checkpoint(GOLDEN).tensors
    return {name: np.array(t.read(np.float32)) for name, t in tensors.items() if t.dtype in WEIGHT_TYPES}


def copy_texts(folder: Path) -> Path:
    """The golden checkpoint without its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in TEXTS:
        shutil.copy(GOLDEN / name, folder)
    return folder


def change_config(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def encode(values: NDArray[np.float32], dtype: str) -> bytes:
    """The values as they lie in a file. bf16 cuts off: the golden weights are f16, three more bits."""
    if dtype == "bf16":
        return (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    return values.astype({"f16": np.float16, "f32": np.float32, "f64": np.float64}[dtype]).tobytes()


def write_safetensors(path: Path, weights: Weights, dtype: str = "f16") -> None:
    header, data = {}, b""
    for name, values in weights.items():
        encoded = encode(values, dtype)
        offsets = [len(data), len(data) + len(encoded)]
        header[name] = {"dtype": SAFETENSORS_TYPES[dtype], "shape": list(values.shape), "data_offsets": offsets}
        data += encoded
    write_raw_safetensors(path, json.dumps(header).encode(), data)


def write_raw_safetensors(path: Path, header: bytes, data: bytes) -> None:
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


class _Global:
    """Pickles as a reference to a global of that name."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __call__(self) -> None: ...


PythonPickler: Any = pickle._Pickler


class StatePickler(PythonPickler):  # type: ignore[misc]  # the one in Python, which can be told
    """Writes state dicts as torch.save does: storages as persistent ids, tensors as calls."""

    def persistent_id(self, value: object) -> object:
        return value.identity if isinstance(value, _StorageRef) else None

    def save_global_reference(self, value: _Global) -> None:
        self.write(f"c{value.module}\n{value.name}\n".encode())

    def save(self, value: object, save_persistent_id: bool = True) -> None:
        if isinstance(value, _Global):
            self.save_global_reference(value)
        elif isinstance(value, _Call):
            self.save(value.function)
            self.save(value.arguments)
            self.write(b"R")
        else:
            super().save(value, save_persistent_id)


class _StorageRef:
    def __init__(self, kind: str, key: str, size: int) -> None:
        self.identity = ("storage", _Global("torch", kind), key, "cpu", size)


class _Call:
    def __init__(self, function: _Global, *arguments: object) -> None:
        self.function, self.arguments = function, arguments


def tensor_call(storage: _StorageRef, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> _Call:
    hooks = _Call(_Global("collections", "OrderedDict"))
    return _Call(_Global("torch._utils", "_rebuild_tensor_v2"), storage, offset, shape, strides, False, hooks)


def state_pickle(table: object, protocol: int = 2) -> bytes:
    buffer = io.BytesIO()
    StatePickler(buffer, protocol).dump(table)
    return buffer.getvalue()


def write_torch_zip(path: Path, table: bytes, storages: Mapping[str, bytes], compression: int = 0) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", table)
        archive.writestr("archive/byteorder", b"little")
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)


def write_torch_file(path: Path, weights: Weights, dtype: str = "f16", transposed: bool = False) -> None:
    """transposed: matrices lie column by column, as views with strides."""
    table: dict[str, object] = {}
    storages = {}
    for index, (name, values) in enumerate(weights.items()):
        strides = tuple(step // values.itemsize for step in values.strides)
        stored = values
        if transposed and values.ndim == 2:
            stored, strides = np.ascontiguousarray(values.T), (1, values.shape[0])
        storages[str(index)] = encode(stored, dtype)
        table[name] = tensor_call(_StorageRef(TORCH_STORAGES[dtype], str(index), values.size), 0, values.shape, strides)
    write_torch_zip(path, state_pickle(table), storages)


def write_shards(folder: Path, weights: Weights, name: str, pieces: int = 3) -> None:
    """The weights in `pieces` files beside an index; `name` is model.safetensors or pytorch_model.bin."""
    stem, _, suffix = name.rpartition(".")
    write = write_safetensors if suffix == "safetensors" else write_torch_file
    places: dict[str, str] = {}
    for piece in range(pieces):
        part = {key: value for n, (key, value) in enumerate(weights.items()) if n % pieces == piece}
        file = f"{stem}-{piece + 1:05}-of-{pieces:05}.{suffix}"
        write(folder / file, part)
        places |= dict.fromkeys(part, file)
    (folder / f"{name}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
