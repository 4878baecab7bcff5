"""Reads a PyTorch weights file (pytorch_model.bin) without PyTorch: the zip's directory, the pickle, the storages.

The format since PyTorch 1.6 is a zip without compression: <any>/data.pkl holds the table of tensors, <any>/data/<key>
the storages that it refers to (torch/serialization.py, `_save`). `pickle_reader` reads the table.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

from cgcli.convert.pickle_reader import PickledTensor, read_state_dict
from cgcli.convert.tensor import ITEM_BYTES, StoredTensor
from cgcli.core.errors import ModelFileError
from cgcli.core.file_kinds import HEAD_BYTES, check_kind
from cgcli.core.reading import shown

MAX_PICKLE_BYTES = 16 << 20  # 16B's has some 40 kB
MAX_DIMENSIONS = 8
LEGACY_HEAD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the pickled magic number of torch/serialization.py
LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip entry: magic, lengths of its name and of its extra field

# What zipfile and struct raise on a hostile directory.
ZIP_ERRORS = (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, OverflowError, IndexError, EOFError)


def read_torch_file(path: Path) -> dict[str, StoredTensor]:
    """The tensors in `path` by name. Raises ModelFileError for a file that is damaged or asks for more than tensors."""
    try:
        return _read(path)
    except ZIP_ERRORS as error:
        raise _error(path, f"is a damaged zip: {shown(str(error))}") from None
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error


def _read(path: Path) -> dict[str, StoredTensor]:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(len(LEGACY_HEAD))
        if head == LEGACY_HEAD or head[:1] == b"\x80":
            raise _error(path, "was written by a PyTorch older than 1.6 (not a zip): save it again with a newer one")
        if head[:2] != b"PK":
            check_kind(path, head + file.read(HEAD_BYTES), "zip")
            raise _error(path, f"is not a PyTorch file (it begins with {shown(head[:4])})")
        with zipfile.ZipFile(file) as archive:
            entries: dict[str, zipfile.ZipInfo] = {}
            for entry in archive.infolist():
                if entry.filename in entries:
                    raise _error(path, f"has {shown(entry.filename)} twice")
                entries[entry.filename] = entry
        tables = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(tables) != 1:
            raise _error(path, f"has {len(tables)} data.pkl, not one")
        prefix = tables[0].removesuffix("data.pkl")

        def place(name: str) -> tuple[int, int]:
            """Start and size in bytes of a stored entry."""
            entry = entries.get(prefix + name)
            if entry is None:
                raise _error(path, f"has no {shown(prefix + name)}")
            if (
                entry.compress_type != zipfile.ZIP_STORED
                or entry.flag_bits & 1
                or entry.compress_size != entry.file_size
            ):
                raise _error(path, f"has a compressed or encrypted {shown(prefix + name)}")
            file.seek(entry.header_offset)
            magic, name_length, extra_length = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
            start = entry.header_offset + LOCAL_HEADER.size + name_length + extra_length
            if magic != b"PK\3\4" or start + entry.file_size > size:
                raise _error(path, f"is cut off: {shown(prefix + name)} is not where it should be")
            return start, entry.file_size

        def read_small(name: str) -> bytes:
            start, length = place(name)
            if length > MAX_PICKLE_BYTES:
                raise _error(path, f"has a {shown(prefix + name)} of {length} bytes (limit {MAX_PICKLE_BYTES})")
            file.seek(start)
            return file.read(length)

        if prefix + "byteorder" in entries and read_small("byteorder") != b"little":
            raise _error(path, "was written on a big-endian machine")
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
        raise _error(path, f"{shown(name)} has {len(tensor.shape)} dimensions")
    stored = StoredTensor(name, storage.dtype, tensor.shape, tensor.strides, path, start + tensor.offset * item)
    last = sum((n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True))
    # More elements than the storage has would be a view that repeats itself: small on disk, huge once read.
    if stored.size > storage.size or (stored.size and tensor.offset + last >= storage.size):
        raise _error(path, f"{shown(name)} of shape {list(tensor.shape)} is not within its storage of {storage.size}")
    return stored


def _error(path: Path, what: str) -> ModelFileError:
    return ModelFileError(f"{path}: {what}")
