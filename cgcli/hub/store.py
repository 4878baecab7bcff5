"""The local store of pulled models.

    STORE/NAME/QUANT.gguf   the weights
    STORE/NAME/QUANT.json   the manifest; the model exists once this is renamed into place
    STORE/NAME/QUANT.passes the measured cost of wider passes on this machine
    STORE/NAME/checkpoint/  the original, during a pull or with `--keep`
    STORE/NAME/work/        unfinished work of a pull, which the next one starts again
    STORE/.locks/           one lock per model

A linked model has only a manifest, with the path of a file elsewhere. Bundled models are in a read-only folder of the
same layout. Where models come from is not known here.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from cgcli import __version__
from cgcli.core.config import Environment
from cgcli.core.errors import ModelFileError, ModelNotFound, UsageError
from cgcli.core.files import disk_error, take_lock, write_atomic
from cgcli.core.paths import expanded
from cgcli.core.progress import Progress
from cgcli.core.reading import parse_json, read_bytes, sha256_file, shown
from cgcli.core.typed import typed
from cgcli.hub.catalog import bundled_models, check_name, suggest
from cgcli.hub.sizes import DEFAULT_QUANT, QUANTS


@dataclass(frozen=True)
class Manifest:
    """The record of a stored model."""

    name: str
    quant: str
    file: str  # the GGUF's name in the model's folder, or the absolute path of a linked one
    size: int  # of the GGUF, in bytes
    sha256: str  # of the GGUF
    source: str
    revision: str | None = None  # the commit that the source resolved to
    licence: str | None = None
    tool_version: str = __version__
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    report: dict[str, Any] | None = None  # measurements of the conversion


class Stored(NamedTuple):
    """A model of the store."""

    manifest: Manifest
    path: Path  # of the GGUF
    bundled: bool = False  # comes with cgcli

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def quant(self) -> str:
        return self.manifest.quant

    @property
    def spec(self) -> str:
        """Its name for `-m`."""
        return f"{self.name}:{self.quant}"

    @property
    def linked(self) -> bool:
        return Path(self.manifest.file).is_absolute()

    def fault(self) -> str | None:
        """What is wrong with the file, without reading it; None if it exists with the right size."""
        try:
            if not self.path.is_file():
                return f"{self.spec}: {self.path} is missing"
            size = self.path.stat().st_size
        except OSError as error:
            return f"{self.spec}: cannot read {self.path}: {error.strerror or error}"
        if size != self.manifest.size:
            return f"{self.spec}: {self.path} has {size} bytes instead of {self.manifest.size}"
        return None

    @property
    def remedy(self) -> str:
        """How to repair a damaged file."""
        if self.bundled:
            return "reinstall cgcli"
        again = f"cgcli models add FILE.gguf --name {self.name}" if self.linked else f"cgcli pull {self.spec}"
        return f"cgcli models rm {self.spec} && {again}"


def open_store(environment: Environment) -> Store:
    """The user's store, with the bundled models."""
    return Store(environment.store, bundled=bundled_models())


class Store:
    """The models in one folder, which need not exist yet, and the bundled ones unless a user's model has their name."""

    def __init__(self, root: Path, bundled: Path | None = None) -> None:
        self.root, self.bundled = root, bundled

    def folder(self, name: str) -> Path:
        return self.root / check_name(name)

    def checkpoint(self, name: str) -> Path:
        return self.folder(name) / "checkpoint"

    def passes(self, stored: Stored) -> Path:
        return self.folder(stored.name) / f"{stored.quant}.passes"

    def original(self, name: str) -> Path:
        """The folder of the checkpoint that the model was made from; it need not exist."""
        return (self.bundled / name if self.bundled and self.is_bundled(name) else self.folder(name)) / "checkpoint"

    def is_bundled(self, name: str) -> bool:
        """Whether this name stands for a bundled model."""
        return not any(self._own(name)) and any(self._bundled(name))

    def work(self, name: str) -> Path:
        return self.folder(name) / "work"

    def all(self) -> list[Stored]:
        """All models with a valid manifest, by name and quantization."""
        return [one for one in self._scan() if isinstance(one, Stored)]

    def broken(self) -> list[ModelFileError]:
        """An error for each damaged manifest."""
        return [one for one in self._scan() if isinstance(one, ModelFileError)]

    def quants(self, name: str) -> list[Stored]:
        """The stored quantizations of a model: the default one first, then by increasing loss.

        Raises ModelFileError if a manifest is damaged.
        """
        order = (DEFAULT_QUANT, *QUANTS)
        found = [self._read(file) for file in self._own(name) or self._bundled(name)]
        return sorted(found, key=lambda one: order.index(one.quant) if one.quant in order else len(order))

    def get(self, name: str, quant: str) -> Stored | None:
        """The model, or None. The file of a linked model may be missing."""
        check_name(quant)
        files = self._own(name) or self._bundled(name)
        return next((self._read(file) for file in files if file.stem == quant), None)

    def find(self, name: str, quant: str | None = None) -> Stored:
        """The model, ready to load. Without `quant`, its preferred quantization.

        Raises ModelNotFound, and ModelFileError if its file is missing.
        """
        found = self.quants(name)
        chosen = next((one for one in found if quant in (None, one.quant)), None)
        if chosen is None and found:
            pulled = ", ".join(one.quant for one in found)
            raise ModelNotFound(f"{name}:{quant} is not pulled, only {pulled}", hint=f"cgcli pull {name}:{quant}")
        if chosen is None:
            known = sorted({one.name for one in self.all()})
            raise ModelNotFound(f"no model named {name!r} in the store", hint=suggest(name, known))
        if fault := chosen.fault():
            raise ModelFileError(fault, hint=chosen.remedy)
        return chosen

    def admit(self, file: Path, manifest: Manifest) -> Stored:
        """Move a finished GGUF, which the caller has hashed, into the store and publish it."""
        folder = self.folder(manifest.name)
        target = folder / manifest.file
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with file.open("rb+") as written:
                os.fsync(written.fileno())
            file.replace(target)
        except OSError as error:
            raise disk_error(target, error) from error
        return self._publish(manifest)

    def link(self, name: str, file: Path, progress: Progress) -> Stored:
        """Add a GGUF elsewhere to the store by its path: it is checked and hashed, but not copied.

        Raises UsageError if the name is taken, ModelFileError if the file is not a usable GGUF.
        """
        from cgcli.engine.gguf_check import read_header

        path = expanded(file).absolute()
        quant = read_header(path).quant
        with self.locked(check_name(name), progress):
            if self._own(name):
                raise UsageError(f"a model named {name} already exists", hint="choose another --name")
            digest = sha256_file(path, progress, f"hashing {path.name}")
            return self._publish(Manifest(name, quant, str(path), path.stat().st_size, digest, f"file:{path}"))

    @contextmanager
    def locked(self, name: str, progress: Progress) -> Iterator[None]:
        """Hold the lock of model `name`, and note it if that has to wait. Raises CgcliError if it cannot be created."""
        file = self.root / ".locks" / f"{name}.lock"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            lock = take_lock(file)
            if lock is None:
                progress.note(f"another cgcli is working on {name}: waiting for it")
            while lock is None:
                lock = take_lock(file, wait_s=60)
        except OSError as error:
            raise disk_error(self.root, error) from error
        try:
            yield
        finally:
            lock.release()

    def remove(self, name: str, quant: str | None, progress: Progress) -> int:
        """Remove a model, or one quantization of it, and return the bytes freed.

        Leftovers of an unfinished pull are removed, too; linked files and files that the store did not write stay. A
        damaged manifest does not matter. Raises ModelNotFound, and UsageError for a bundled model.
        """
        folder = self.folder(name)
        if self.is_bundled(name):
            raise UsageError(f"{name} is bundled with cgcli and cannot be removed")
        if quant is not None and not (folder / f"{check_name(quant)}.json").is_file():
            self.find(name, quant)
        if not folder.is_dir():
            self.find(name)
        with self.locked(name, progress):
            try:
                if folder.is_symlink():
                    if quant is not None:
                        raise UsageError(
                            f"{folder} is a link to {folder.readlink()}, outside the store",
                            hint=f"run `cgcli models rm {name}` to remove the link",
                        )
                    folder.unlink()
                    return 0
                before = _size(folder)
                # Manifests first, so that an interrupted removal leaves no model that cannot be loaded.
                quants = [quant] if quant else sorted({file.stem for file in folder.glob("*.json")} | {*QUANTS})
                for suffix in ("json", "gguf", "passes"):
                    for one in quants:
                        (folder / f"{one}.{suffix}").unlink(missing_ok=True)
                if quant is None:
                    for below in (self.checkpoint(name), self.work(name)):
                        below.unlink() if below.is_symlink() else shutil.rmtree(below, ignore_errors=not below.exists())
                if not (left := sorted(file.name for file in folder.iterdir())):
                    folder.rmdir()
                elif quant is None:
                    progress.note(f"{folder} is kept because it holds other files: {', '.join(left[:5])}")
            except OSError as error:
                raise disk_error(folder, error) from error
            return before - (_size(folder) if folder.exists() else 0)

    def verify(self, stored: Stored, progress: Progress) -> str | None:
        """Hash a model's file. Returns None if it is intact, else one line that says what is wrong."""
        try:
            size = stored.path.stat().st_size
            if size != stored.manifest.size:
                return f"{stored.spec}: {stored.path} has {size} bytes instead of {stored.manifest.size}"
            digest = sha256_file(stored.path, progress, f"verifying {stored.spec}")
        except OSError as error:
            return f"{stored.spec}: cannot read {stored.path}: {error.strerror or error}"
        if digest != stored.manifest.sha256:
            return f"{stored.spec}: sha256 of {stored.path} is {digest} instead of {stored.manifest.sha256}"
        return None

    def _publish(self, manifest: Manifest) -> Stored:
        file = self.folder(manifest.name) / f"{check_name(manifest.quant)}.json"
        write_atomic(file, json.dumps(asdict(manifest), indent=2).encode() + b"\n")
        return Stored(manifest, file.parent / manifest.file)

    def _scan(self) -> Iterator[Stored | ModelFileError]:
        own = sorted(self.root.glob("[!.]*/*.json"))
        hidden = {file.parent.name for file in own}
        bundled = sorted(self.bundled.glob("*/*.json")) if self.bundled else []
        for file in sorted([*own, *(file for file in bundled if file.parent.name not in hidden)], key=_place):
            try:
                yield self._read(file)
            except ModelFileError as error:
                yield error

    def _own(self, name: str) -> list[Path]:
        """The manifests of a model in the user's folder."""
        return sorted(self.folder(name).glob("*.json"))

    def _bundled(self, name: str) -> list[Path]:
        return sorted((self.bundled / name).glob("*.json")) if self.bundled else []

    def _read(self, file: Path) -> Stored:
        try:
            manifest: Manifest = typed(Manifest, parse_json(read_bytes(file)), "manifest")
            if (manifest.name, manifest.quant) != (file.parent.name, file.stem):
                raise ValueError(f"is of {manifest.name}:{manifest.quant}")
            path = Path(manifest.file)
            # `remove` finds the store's own files by this name.
            if b"\0" in os.fsencode(path) or not (path.is_absolute() or manifest.file == f"{manifest.quant}.gguf"):
                raise ValueError(f"file is {shown(manifest.file)}")
            if not 0 <= manifest.size < 1 << 63:
                raise ValueError(f"size is {shown(manifest.size)}")
            return Stored(manifest, file.parent / path, bundled=file.parent.parent == self.bundled)
        except (OSError, ValueError) as error:
            spec = f"{file.parent.name}:{file.stem}"
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise ModelFileError(f"damaged manifest {file}: {reason}", hint=f"cgcli models rm {spec}") from error


def _place(manifest: Path) -> tuple[str, str]:
    return manifest.parent.name, manifest.name


def _size(folder: Path) -> int:
    """Bytes of the regular files in a folder; links are not followed."""
    found = (file.lstat() for file in folder.rglob("*"))
    return sum(one.st_size for one in found if stat.S_ISREG(one.st_mode))
