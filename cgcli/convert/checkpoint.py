"""Finds a checkpoint's weight files and reads them as one table of tensors, by their published names.

Files in the Hub's layout: model.safetensors or pytorch_model.bin, whole or in shards with an index beside them.
Safetensors come first: they need no pickle. PyTorch's format is read by `torch_file`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cgcli.convert.tensor import ITEM_BYTES, MAX_DIMENSIONS, StoredTensor, contiguous, whole_numbers
from cgcli.convert.torch_file import read_torch_file
from cgcli.core.errors import ModelFileError
from cgcli.core.model_files import HEAD_BYTES, check_kind, parse_object, read_object
from cgcli.core.reading import open_regular, sha256_file, shown, unreadable

MAX_SHARDS = 1024
MAX_HEADER_BYTES = 100_000_000  # of a safetensors file: the format's own limit

_BODY, _HEAD, _EMBEDDING = "transformer.", "lm_head.", "wte.weight"
_ADAPTERS = ("lora_", "ia3_")  # how peft's names of unmerged weights begin
_MAX_DTYPE = 32  # characters of a type's name
_SAFETENSORS_TYPES = {
    "F16": "f16", "BF16": "bf16", "F32": "f32", "F64": "f64",
    "U8": "u8", "I8": "i8", "BOOL": "bool", "I16": "i16", "I32": "i32", "I64": "i64",
}  # fmt: skip

_Read = Callable[[Path], dict[str, StoredTensor]]
_Contents = tuple[tuple[Path, ...], dict[str, StoredTensor]]
"""Weight files and their tensors."""


@dataclass(frozen=True)
class Checkpoint:
    """The weights of one CodeGen model."""

    folder: Path
    files: tuple[Path, ...]  # of the weights
    tensors: Mapping[str, StoredTensor]  # by published name

    def tensor(self, name: str, shape: tuple[int, ...]) -> StoredTensor:
        """The weight of that name. Raises ModelFileError if it is missing or has another shape."""
        found = self.tensors.get(name)
        if found is None:
            hint = "save the whole CodeGenForCausalLM, not only its body" if name.startswith(_HEAD) else None
            raise ModelFileError(f"{self.folder}: tensor {name} is missing", hint=hint)
        found.check_weight(shape)
        return found


def open_checkpoint(folder: Path, *, tied: bool = False) -> Checkpoint:
    """Find and check the weight files in `folder`, without converting a weight yet.

    tied: config.json sets tie_word_embeddings: the head's matrix is the embedding. Raises ModelFileError.
    """
    files, tensors = _read(folder)
    tensors = _published_names(folder, tensors)
    if tied:
        _tie(folder, tensors)
    return Checkpoint(folder, files, tensors)


def sha256_of(path: Path) -> str:
    """The file's hash, as hexadecimal digits."""
    try:
        return sha256_file(path)
    except OSError as error:
        raise unreadable(path, error, ModelFileError) from error


def _read(folder: Path) -> _Contents:
    formats: dict[str, _Read] = {"model.safetensors": read_safetensors, "pytorch_model.bin": read_torch_file}
    for name, read in formats.items():
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return (folder / name,), read(folder / name)
        if index.is_file():
            return _read_shards(folder, index, read)
    raise ModelFileError(f"{folder}: no weights found ({' or '.join(formats)})")


def _read_shards(folder: Path, index: Path, read: _Read) -> _Contents:
    places = read_object(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise _error(index, "has no weight_map")
    for file in places.values():
        # A name with a folder in it could point anywhere.
        if not isinstance(file, str) or Path(file).name != file or not (folder / file).is_file():
            raise _error(index, f"refers to {shown(file)}, which is not a file in the same folder")
    names = sorted(set(places.values()))
    if len(names) > MAX_SHARDS:
        raise _error(index, f"refers to {len(names)} files (limit {MAX_SHARDS})")
    shards = {name: read(folder / name) for name in names}
    tensors = {}
    for tensor, file in places.items():
        if tensor not in shards[file]:
            raise _error(folder / file, f"tensor {shown(tensor)} is missing, although {index.name} lists it")
        tensors[tensor] = shards[file][tensor]
    return tuple(folder / name for name in names), tensors


def _published_names(folder: Path, tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The tensors by the names under which CodeGen is published, whatever wrapped the model when it was saved.

    DistributedDataParallel puts `module.` before each name, torch.compile `_orig_mod.`, peft `base_model.model.`; a
    CodeGenModel saved without its head omits `transformer.`. The embedding shows the wrapper: whatever precedes
    `transformer.wte.weight`, or `wte.weight`, is removed from every name.

    Raises ModelFileError if the names are not CodeGen's, or belong to several models.
    """
    for name in tensors:
        if any(part.startswith(_ADAPTERS) for part in name.split(".")):
            raise ModelFileError(
                f"{folder}: has adapter weights that are not merged ({shown(name)})",
                hint="merge them first: merge_and_unload() in peft",
            )
    if _BODY + _EMBEDDING in tensors:
        return dict(tensors)
    embeddings = [name for name in tensors if f".{name}".endswith(f".{_EMBEDDING}")]
    if len(embeddings) != 1:
        found = ", ".join(map(shown, embeddings[:3] or list(tensors)[:3])) or "none"
        count = f"{len(embeddings)} embeddings" if embeddings else f"no tensor {_BODY}{_EMBEDDING}"
        raise ModelFileError(f"{folder}: not one CodeGen model: it has {count}; its tensors: {found}, ...")
    prefix = embeddings[0].removesuffix(_EMBEDDING)
    wrapper = prefix.removesuffix(_BODY)
    named: dict[str, StoredTensor] = {}
    for name, tensor in tensors.items():
        bare = name.removeprefix(wrapper)
        published = bare if bare.startswith((_BODY, _HEAD)) or not name.startswith(wrapper) else _BODY + bare
        if published in named:
            raise ModelFileError(f"{folder}: has two tensors for {shown(published)}; one is {shown(name)}")
        named[published] = tensor
    return named


def _tie(folder: Path, tensors: dict[str, StoredTensor]) -> None:
    """Use the embedding as the head's matrix. Raises ModelFileError if the head has a different one: transformers 4
    would replace it by the embedding, transformers 5 would keep it."""
    name = f"{_HEAD}weight"
    embedding = tensors[_BODY + _EMBEDDING]
    head = tensors.setdefault(name, embedding)
    if head is not embedding and not head.equals(embedding):
        raise ModelFileError(
            f"{folder}: config.json sets tie_word_embeddings, but {name} differs from {_BODY}{_EMBEDDING}",
            hint="set it to false if the head was trained separately, or remove the head",
        )


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """The tensors in `path` by name. Raises ModelFileError if the file does not match its header.

    The format: 8 bytes of header length, a JSON header, the data without gaps
    (https://huggingface.co/docs/safetensors/index#format).
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(HEAD_BYTES)
            check_kind(path, head, "safetensors", "empty")
            length = int.from_bytes(head[:8], "little")
            if len(head) < 10 or not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
                known = f"a header of {length} bytes in a file of {size}" if len(head) >= 10 else f"{size} bytes"
                raise _error(path, f"not a safetensors file: {known}")
            file.seek(8)
            header = parse_object(file.read(length), str(path))
    except OSError as error:
        raise unreadable(path, error, ModelFileError) from error
    header.pop("__metadata__", None)
    data = 8 + length
    found: dict[str, StoredTensor] = {}
    extents: list[tuple[int, int, str]] = []
    for name, entry in header.items():
        label = shown(name)
        dtype, shape, begin, end = _entry(path, label, entry)
        if dtype in ITEM_BYTES and end - begin != math.prod(shape) * ITEM_BYTES[dtype]:
            raise _error(path, f"{label} has {end - begin} bytes, which does not match its shape and type")
        found[name] = StoredTensor(name, dtype, shape, contiguous(shape), path, data + begin)
        extents.append((begin, end, label))
    at = 0
    for begin, end, label in sorted(extents):
        if begin != at:
            raise _error(path, f"{label} begins at byte {begin} instead of {at}: a gap or an overlap")
        at = end
    if at != size - data:
        raise _error(path, f"has {size - data} bytes of data, but its tensors have {at}")
    return found


def _entry(path: Path, label: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """Type, shape, begin and end of one entry of a safetensors header."""
    dtype = entry.get("dtype") if isinstance(entry, dict) else None
    if not isinstance(dtype, str):
        raise _error(path, f"{label} has no dtype")
    if not dtype.isidentifier() or len(dtype) > _MAX_DTYPE:
        raise _error(path, f"{label} has the unknown dtype {shown(dtype)}")
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    if not isinstance(shape, list) or not whole_numbers(shape) or len(shape) > MAX_DIMENSIONS:
        raise _error(path, f"{label} has the invalid shape {shown(shape)}")
    if not isinstance(offsets, list) or not whole_numbers(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _error(path, f"{label} has the invalid data_offsets {shown(offsets)}")
    return _SAFETENSORS_TYPES.get(dtype, dtype), tuple(shape), offsets[0], offsets[1]


def _error(path: Path, what: str) -> ModelFileError:
    return ModelFileError(f"{path}: {what}")
