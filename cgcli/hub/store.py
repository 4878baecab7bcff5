"""The local store: where pulled models live.

    STORE/NAME/QUANT.gguf   the weights
    STORE/NAME/QUANT.json   the manifest; renaming it into place is what makes the model visible
    STORE/NAME/QUANT.passes what wider passes cost here, where it was measured; worthless on another machine
    STORE/NAME/checkpoint/  the original, while a pull is under way or where `--keep` was given
    STORE/NAME/work/        what a pull has not finished; worthless to the next one
    STORE/.locks/           one lock a model

A linked model has a manifest only, which holds the path of a file elsewhere. Models that came with cgcli are in a
folder of the same form, the box, which nothing is written to. Where other models come from is not known here.
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
from typing import Any

from cgcli import __version__
from cgcli.core.environment import Environment
from cgcli.core.errors import ModelFileError, ModelNotFound, UsageError
from cgcli.core.files import disk_error, take_lock, write_atomic
from cgcli.core.progress import Progress
from cgcli.core.reading import parse_json, read_bytes, sha256_file, shown
from cgcli.core.typed import typed
from cgcli.hub.catalog import came_with, suggest
from cgcli.hub.sizes import DEFAULT_QUANT, QUANTS
from cgcli.hub.spec import check_name


@dataclass(frozen=True)
class Manifest:
    """What is recorded about a stored model.

    file: name of the GGUF in the model's own folder, or the absolute path of a linked one; size in bytes;
    revision: the commit that the source resolved to; report: what the conversion measured.
    """

    name: str
    quant: str
    file: str
    size: int
    sha256: str
    source: str
    revision: str | None = None
    licence: str | None = None
    tool_version: str = __version__
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    report: dict[str, Any] | None = None


@dataclass(frozen=True)
class Stored:
    """A model of the store: its manifest, where its GGUF is, and whether it came with cgcli."""

    manifest: Manifest
    path: Path
    boxed: bool = False

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def quant(self) -> str:
        return self.manifest.quant

    @property
    def spec(self) -> str:
        """What `-m` takes to name it."""
        return f"{self.name}:{self.quant}"

    @property
    def linked(self) -> bool:
        return Path(self.manifest.file).is_absolute()

    def fault(self) -> str | None:
        """What is wrong with the file at first sight; None where it is there and as long as it was."""
        try:
            if not self.path.is_file():
                return f"{self.spec}: {self.path} is gone"
            size = self.path.stat().st_size
        except OSError as error:
            return f"{self.spec}: cannot read {self.path}: {error.strerror or error}"
        if size != self.manifest.size:
            return f"{self.spec}: {self.path} has {size} bytes, should have {self.manifest.size}"
        return None

    @property
    def remedy(self) -> str:
        """What to type about a file that is not right."""
        if self.boxed:
            return "install cgcli again"
        again = f"cgcli models add FILE.gguf --name {self.name}" if self.linked else f"cgcli pull {self.spec}"
        return f"cgcli models rm {self.spec} && {again}"


def open_store(environment: Environment) -> Store:
    """The user's store, with the models that came with cgcli."""
    return Store(environment.store, box=came_with())


class Store:
    """The models under one folder, which need not exist yet, and those of the box that none there has the name of."""

    def __init__(self, root: Path, box: Path | None = None) -> None:
        self.root, self.box = root, box

    def folder(self, name: str) -> Path:
        return self.root / check_name(name)

    def checkpoint(self, name: str) -> Path:
        return self.folder(name) / "checkpoint"

    def passes(self, stored: Stored) -> Path:
        return self.folder(stored.name) / f"{stored.quant}.passes"

    def original(self, name: str) -> Path:
        """The folder of the checkpoint that a model was made of, which need not be there."""
        return (self.box / name if self.box and self.boxed(name) else self.folder(name)) / "checkpoint"

    def boxed(self, name: str) -> bool:
        """Whether it is the one that came with cgcli."""
        return not any(self._own(name)) and any(self._in_box(name))

    def work(self, name: str) -> Path:
        return self.folder(name) / "work"

    def all(self) -> list[Stored]:
        """Every model whose manifest can be read, by name, then by quant."""
        return [one for one in self._scan() if isinstance(one, Stored)]

    def broken(self) -> list[ModelFileError]:
        """What is wrong with each manifest that cannot be read."""
        return [one for one in self._scan() if isinstance(one, ModelFileError)]

    def quants(self, name: str) -> list[Stored]:
        """What is there of one model, the preferred quant first: the usual default, then smallest loss first.

        Raises ModelFileError if a manifest of it cannot be read.
        """
        order = (DEFAULT_QUANT, *QUANTS)
        found = [self._read(file) for file in self._own(name) or self._in_box(name)]
        return sorted(found, key=lambda one: order.index(one.quant) if one.quant in order else len(order))

    def get(self, name: str, quant: str) -> Stored | None:
        """The model if it is there; for a linked one, whether or not its file still is."""
        check_name(quant)
        files = self._own(name) or self._in_box(name)
        return next((self._read(file) for file in files if file.stem == quant), None)

    def find(self, name: str, quant: str | None = None) -> Stored:
        """The model, ready to be loaded: without a quant the preferred one.

        Raises ModelNotFound if it is not there, ModelFileError if its file is gone.
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
        """Move a finished GGUF, hashed by the caller, into the store and make it visible."""
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
        """Make a GGUF elsewhere a model of the store, in place: checked and hashed, not copied.

        Raises UsageError if the name is taken, ModelFileError if it is no GGUF that can be run.
        """
        from cgcli.engine.gguf import read_header

        path = file.expanduser().absolute()
        quant = read_header(path).quant
        with self.locked(check_name(name), progress):
            if self._own(name):
                raise UsageError(f"there is a model named {name} already", hint="choose another --name")
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
        """Forget a model, or one quant of it, and whatever a pull of it left. Bytes freed; a linked file stays, and so
        does every file that is not the store's.

        Works on a broken manifest too. Raises ModelNotFound if nothing of that name is there, UsageError for one that
        came with cgcli.
        """
        folder = self.folder(name)
        if self.boxed(name):
            raise UsageError(f"{name} came with cgcli, and goes with it")
        if quant is not None and not (folder / f"{check_name(quant)}.json").is_file():
            self.find(name, quant)
        if not folder.is_dir():
            self.find(name)
        with self.locked(name, progress):
            try:
                if folder.is_symlink():
                    if quant is not None:
                        raise UsageError(
                            f"{folder} is a link to {folder.readlink()}, whose files are not the store's",
                            hint=f"cgcli models rm {name} removes the link",
                        )
                    folder.unlink()
                    return 0
                before = _size(folder)
                # Manifests first: a removal that is cut off leaves nothing visible that does not work.
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
                    progress.note(f"{folder} is kept, since it holds other files: {', '.join(left[:5])}")
            except OSError as error:
                raise disk_error(folder, error) from error
            return before - (_size(folder) if folder.exists() else 0)

    def verify(self, stored: Stored, progress: Progress) -> str | None:
        """Hash a model's file again: None where every byte is as it was, else one line that says what is wrong."""
        try:
            size = stored.path.stat().st_size
            if size != stored.manifest.size:
                return f"{stored.spec}: {stored.path} has {size} bytes, should have {stored.manifest.size}"
            digest = sha256_file(stored.path, progress, f"verifying {stored.spec}")
        except OSError as error:
            return f"{stored.spec}: cannot read {stored.path}: {error.strerror or error}"
        if digest != stored.manifest.sha256:
            return f"{stored.spec}: sha256 of {stored.path} is {digest}, should be {stored.manifest.sha256}"
        return None

    def _publish(self, manifest: Manifest) -> Stored:
        file = self.folder(manifest.name) / f"{check_name(manifest.quant)}.json"
        write_atomic(file, json.dumps(asdict(manifest), indent=2).encode() + b"\n")
        return Stored(manifest, file.parent / manifest.file)

    def _scan(self) -> Iterator[Stored | ModelFileError]:
        own = sorted(self.root.glob("[!.]*/*.json"))
        hidden = {file.parent.name for file in own}
        boxed = sorted(self.box.glob("*/*.json")) if self.box else []
        for file in sorted([*own, *(file for file in boxed if file.parent.name not in hidden)], key=_place):
            try:
                yield self._read(file)
            except ModelFileError as error:
                yield error

    def _own(self, name: str) -> list[Path]:
        """The manifests of a model of the user's."""
        return sorted(self.folder(name).glob("*.json"))

    def _in_box(self, name: str) -> list[Path]:
        return sorted((self.box / name).glob("*.json")) if self.box else []

    def _read(self, file: Path) -> Stored:
        try:
            manifest: Manifest = typed(Manifest, parse_json(read_bytes(file)), "manifest")
            if (manifest.name, manifest.quant) != (file.parent.name, file.stem):
                raise ValueError(f"is of {manifest.name}:{manifest.quant}")
            path = Path(manifest.file)
            # A store's own file has the name that `remove` knows it by.
            if b"\0" in os.fsencode(path) or not (path.is_absolute() or manifest.file == f"{manifest.quant}.gguf"):
                raise ValueError(f"file is {shown(manifest.file)}")
            if not 0 <= manifest.size < 1 << 63:
                raise ValueError(f"size is {shown(manifest.size)}")
            return Stored(manifest, file.parent / path, boxed=file.parent.parent == self.box)
        except (OSError, ValueError) as error:
            spec = f"{file.parent.name}:{file.stem}"
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise ModelFileError(f"broken manifest {file}: {reason}", hint=f"cgcli models rm {spec}") from error


def _place(manifest: Path) -> tuple[str, str]:
    return manifest.parent.name, manifest.name


def _size(folder: Path) -> int:
    """Bytes of the regular files in it, not of what links lead to."""
    found = (file.lstat() for file in folder.rglob("*"))
    return sum(one.st_size for one in found if stat.S_ISREG(one.st_mode))
