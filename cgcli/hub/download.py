"""Downloads of single files that can be resumed, also by another process after SIGKILL.

`hf_hub_download` (2.4.0) deletes its uniquely named temporary file when it fails, so another process has nothing to
resume from; and within a process it resumes only at multiples of 10 MiB. Here every piece is written as it arrives:

    FOLDER/NAME                  the file, once its hash is verified
    FOLDER/.download/NAME.part   the bytes received so far
    FOLDER/.download/NAME.json   the file they belong to: etag, size, url

Bytes from an earlier run are hashed again, so the final hash is that of the bytes on disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

from cgcli.core.errors import NetworkError
from cgcli.core.files import disk_error, write_atomic
from cgcli.core.progress import Progress, Task
from cgcli.core.reading import Hash, hash_file, parse_json, read_bytes
from cgcli.hub.client import HubClient, RemoteFile

_PIECE = 1 << 20


def download(hub: HubClient, file: RemoteFile, folder: Path, progress: Progress) -> Path:
    """Download `file` into `folder`, under the last part of its path, and return the path.

    The caller holds a lock, since only one process at a time may do this. Raises CgcliError if it cannot be written,
    and NetworkError, also if the hash is wrong; the bytes are then deleted.
    """
    target = folder / Path(file.path).name
    part = folder / ".download" / f"{target.name}.part"
    try:
        if present_bytes(file, folder) == file.size and target.is_file():
            if hash_file(_new_hash(file), target, progress, _checking(target.name)) == file.etag:
                return target
            progress.note(f"{target.name} has changed since it was downloaded; downloading it again")
        part.parent.mkdir(parents=True, exist_ok=True)
        if _recorded(file, folder):
            target.unlink(missing_ok=True)
        else:  # nothing yet, or part of another file
            target.unlink(missing_ok=True)
            part.unlink(missing_ok=True)
            _record(file, folder)
        with _Part(part, file, progress) as growing:
            hub.stream(file, growing.take, growing.size)
            growing.sync()
        if growing.digest() != file.etag:
            part.unlink()
            raise NetworkError(
                f"hf:{file.repo}/{file.path}: the download has the hash {growing.digest()} instead of {file.etag}",
                hint="run the same command again; the damaged file was deleted",
            )
        part.replace(target)
    except OSError as error:
        raise disk_error(target, error) from error
    return target


def present_bytes(file: RemoteFile, folder: Path) -> int:
    """Bytes of this file that are already in `folder`."""
    if not _recorded(file, folder):
        return 0
    name = Path(file.path).name
    for place in (folder / name, folder / ".download" / f"{name}.part"):
        with contextlib.suppress(FileNotFoundError):
            size = place.stat().st_size
            return size if size <= file.size else 0
    return 0


def _record_file(file: RemoteFile, folder: Path) -> Path:
    return folder / ".download" / f"{Path(file.path).name}.json"


def _record(file: RemoteFile, folder: Path) -> None:
    fields = {"etag": file.etag, "size": file.size, "url": file.url}
    write_atomic(_record_file(file, folder), json.dumps(fields).encode())


def _recorded(file: RemoteFile, folder: Path) -> bool:
    try:
        fields = parse_json(read_bytes(_record_file(file, folder)))
        return (fields["etag"], fields["size"]) == (file.etag, file.size)
    except (OSError, ValueError, KeyError, TypeError):
        return False


class _Part:
    """The growing file and the hash of its contents."""

    def __init__(self, path: Path, file: RemoteFile, progress: Progress) -> None:
        self._path = path
        self._file = file
        self._progress = progress
        self._have = 0
        self._hash = _new_hash(file)
        self._task: Task
        self._out: io.FileIO

    def __enter__(self) -> _Part:
        self._out = io.FileIO(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+")
        try:
            self._rehash()
            self._task = self._progress.task(Path(self._file.path).name, self._file.size, done=self._have)
            self._task.__enter__()
        except BaseException:
            self._out.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._out.close()
        self._task.__exit__(*exception)

    def size(self) -> int:
        return self._have

    def digest(self) -> str:
        return self._hash.hexdigest()

    def sync(self) -> None:
        os.fsync(self._out.fileno())

    def take(self, position: int, pieces: Iterator[bytes]) -> None:
        """Append a response. If it does not begin where the file ends, start over."""
        if position != self._have:
            self._restart()
            if position != 0:
                raise NetworkError(
                    f"hf:{self._file.repo}/{self._file.path}: the server sent a different range than requested"
                )
        for piece in pieces:
            if self._have + len(piece) > self._file.size:
                raise NetworkError(
                    f"hf:{self._file.repo}/{self._file.path}: the server sent more than {self._file.size} bytes"
                )
            try:
                self._write(piece)
            except OSError as error:
                raise disk_error(self._path, error) from error
            self._hash.update(piece)
            self._task.advance(len(piece))

    def _write(self, piece: bytes) -> None:
        rest = memoryview(piece)
        while rest:
            written = self._out.write(rest)
            self._have += written
            rest = rest[written:]

    def _rehash(self) -> None:
        """Hash the bytes of an earlier run; discard them if they are more than the file has."""
        there = os.fstat(self._out.fileno()).st_size
        if there > self._file.size:
            there = 0
            self._out.truncate(0)
        if there == 0:
            return
        with self._progress.task(_checking(Path(self._file.path).name), there) as task:
            while piece := self._out.read(_PIECE):
                self._hash.update(piece)
                task.advance(len(piece))
        self._have = there

    def _restart(self) -> None:
        self._task.advance(-self._have)
        self._out.seek(0)
        self._out.truncate()
        self._have, self._hash = 0, _new_hash(self._file)


def _checking(name: str) -> str:
    return f"checking {name}"


def _new_hash(file: RemoteFile) -> Hash:
    """A hash of the etag's kind: sha256 for LFS files, else git's sha1 of a blob (`blob SIZE`, NUL, data)."""
    if file.is_lfs:
        return hashlib.sha256()
    return hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
