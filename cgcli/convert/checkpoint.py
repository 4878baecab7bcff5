"""Finds a checkpoint's weight files in a folder and reads them as one table of tensors.

Files in the Hub's layout: model.safetensors or pytorch_model.bin, single or in pieces with an index beside them.
Safetensors come first: they need no pickle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cgcli.convert.json_file import read_json
from cgcli.convert.names import published_names
from cgcli.convert.safetensors_file import read_safetensors
from cgcli.convert.tensor import StoredTensor
from cgcli.convert.torch_file import read_torch_file
from cgcli.core.errors import ModelFileError
from cgcli.core.reading import sha256_file, shown, unreadable

Reader = Callable[[Path], dict[str, StoredTensor]]
Contents = tuple[tuple[Path, ...], dict[str, StoredTensor]]
FORMATS: tuple[tuple[str, Reader], ...] = (
    ("model.safetensors", read_safetensors),
    ("pytorch_model.bin", read_torch_file),
)
MAX_SHARDS = 1024
EMBEDDING, HEAD = "transformer.wte.weight", "lm_head.weight"


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a checkpoint by their published names, and the files that they are in."""

    folder: Path
    files: tuple[Path, ...]
    tensors: Mapping[str, StoredTensor]

    def tensor(self, name: str, shape: tuple[int, ...]) -> StoredTensor:
        """The weight of that name. Raises ModelFileError where it is missing or has another shape."""
        found = self.tensors.get(name)
        if found is None:
            whole = "save the whole CodeGenForCausalLM, not its body alone" if name.startswith("lm_head.") else None
            raise ModelFileError(f"{self.folder}: has no tensor {name}", hint=whole)
        found.check_weight(shape)
        return found


def open_checkpoint(folder: Path, *, tied: bool = False) -> Checkpoint:
    """Find and check the weight files in `folder`; no weight is converted yet.

    tied: config.json says that the head's matrix is the embedding (tie_word_embeddings). Raises ModelFileError.
    """
    files, tensors = _read(folder)
    tensors = published_names(folder, tensors)
    if tied:
        _tie(folder, tensors)
    return Checkpoint(folder, files, tensors)


def _read(folder: Path) -> Contents:
    for name, reader in FORMATS:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return (folder / name,), reader(folder / name)
        if index.is_file():
            return _read_shards(folder, index, reader)
    raise ModelFileError(f"{folder}: has no weights ({' or '.join(name for name, _ in FORMATS)})")


def _tie(folder: Path, tensors: dict[str, StoredTensor]) -> None:
    """Give the head the embedding's matrix. Raises ModelFileError where it has another: transformers up to 4 puts the
    embedding in its place, transformers 5 keeps it."""
    embedding, head = tensors[EMBEDDING], tensors.setdefault(HEAD, tensors[EMBEDDING])
    if head is not embedding and not head.equals(embedding):
        raise ModelFileError(
            f"{folder}: tie_word_embeddings is true in config.json, but {HEAD} is not {EMBEDDING}",
            hint="set it to false if the head was trained by itself, or remove the head",
        )


def sha256_of(path: Path) -> str:
    """The file's hash, as hexadecimal digits."""
    try:
        return sha256_file(path)
    except OSError as error:
        raise unreadable(path, error, ModelFileError) from error


def _read_shards(folder: Path, index: Path, reader: Reader) -> Contents:
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise ModelFileError(f"{index}: has no weight_map")
    for file in places.values():
        # A name with a folder in it could point anywhere.
        if not isinstance(file, str) or Path(file).name != file or not (folder / file).is_file():
            raise ModelFileError(f"{index}: names {shown(file)}, which is not a file beside it")
    names = sorted(set(places.values()))
    if len(names) > MAX_SHARDS:
        raise ModelFileError(f"{index}: names {len(names)} files (limit {MAX_SHARDS})")
    shards = {name: reader(folder / name) for name in names}
    tensors = {}
    for tensor, file in places.items():
        if tensor not in shards[file]:
            raise ModelFileError(f"{folder / file}: has no tensor {shown(tensor)}, which {index.name} says it has")
        tensors[tensor] = shards[file][tensor]
    return tuple(folder / name for name in names), tensors
