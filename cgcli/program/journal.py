"""A program's history on disk while somebody works on it: what happened is in the file when `append` returns.

    FOLDER/ID.jsonl         the program, as records.py has it
    FOLDER/.locks/ID.lock   locked while the program is open; a killed process locks nothing

The file and its id come with the first event: a program in which nothing was done leaves no trace. Which programs there
are is program_store.py's matter.
"""

from __future__ import annotations

import errno
import itertools
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cgcli import __version__
from cgcli.core.errors import CgcliError
from cgcli.core.files import disk_error, take_lock, write_atomic
from cgcli.core.reading import read_bytes, unreadable
from cgcli.program import records
from cgcli.program.history import Event, History
from cgcli.program.program import Program
from cgcli.program.records import FORMAT, Entry, Header

if TYPE_CHECKING:
    from filelock import BaseFileLock

MAX_BYTES = 1 << 28
"""Of a file: weeks of work."""

_GLANCE_S = 0.05
"""Who only looks whether a program is open (`is_open`) has its lock for less than this."""


@dataclass(frozen=True)
class Recording:
    """What a file holds. whole: bytes of its whole lines; torn: bytes after them, of a line that was being written."""

    header: Header
    history: History
    whole: int
    torn: int = 0


class Journal:
    """A history that is written down. note: what was wrong with the file and is right again, to be told to the user."""

    def __init__(self, folder: Path, header: Header, history: History) -> None:
        """`new` and `open` make one."""
        self._folder = folder
        self._header = header
        self.history = history
        self.note: str | None = None
        self._lock: BaseFileLock | None = None
        self._whole = 0  # bytes of the file that are as they should be; what comes after them is written over
        self._pending = b""  # what is to be written there

    @classmethod
    def new(cls, folder: Path, program: Program, language: str) -> Journal:
        """Of a new program. Touches nothing yet."""
        first = Header(FORMAT, "", _now(), language, __version__, program.prefix, program.layout, program.turns)
        return cls(folder, first, History.of(program))

    @classmethod
    def open(cls, path: Path) -> Journal:
        """Of a program that is there. A last line whose writing was cut off goes, and `note` says so.

        Raises CgcliError where it is open elsewhere, damaged, or cannot be read.
        """
        lock = hold(path)
        try:
            found = read(path)
            journal = cls(path.parent, replace(found.header, id=path.stem), found.history)
            journal._whole = found.whole
            if found.torn:
                os.truncate(path, found.whole)
                journal.note = f"{path}: the last {found.torn} bytes are gone, their writing was cut off"
        except OSError as error:
            lock.release()
            raise disk_error(path, error) from error
        except BaseException:
            lock.release()
            raise
        journal._lock = lock
        return journal

    @property
    def id(self) -> str:
        """What the program is resumed by; empty before the first event."""
        return self._header.id

    @property
    def path(self) -> Path:
        return self._folder / f"{self.id}.jsonl"

    @property
    def language(self) -> str:
        return self._header.language

    def append(self, *events: Event) -> None:
        """Let events happen, and write them down at once.

        Raises IndexError for one that cannot happen; it and those after it have not then. Raises CgcliError where the
        disk says no: they have happened all the same, and are written with the next ones, or by `flush`.
        """
        for event in events:
            written = records.line(Entry(_now(), event))
            self.history.apply(event)
            self._pending += written
        self.flush()

    def flush(self, hint: str = "it is in memory still, and written with the next step") -> None:
        """Write what could not be written yet. Raises CgcliError with that hint where the disk still says no."""
        if self._pending:
            self._write(hint)

    def close(self) -> None:
        """Give the program to others. Raises CgcliError where something could not be written to the end: it is lost.

        Who can go on without a file does `flush` first.
        """
        try:
            self.flush(hint="what was done since it was last written is lost")
        finally:
            if self._lock:
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, hint: str) -> None:
        try:
            if not self.id:
                self._begin()
            if self._whole:
                data = self._pending
                _overwrite(self.path, self._whole, data)
            else:
                data = records.line(self._header) + self._pending
                write_atomic(self.path, data)
        except (OSError, CgcliError) as error:
            known = (
                error if isinstance(error, CgcliError) else disk_error(self.path if self.id else self._folder, error)
            )
            raise CgcliError(known.message, hint=hint) from error
        self._whole, self._pending = self._whole + len(data), b""

    def _begin(self) -> None:
        """Take the first id of this minute that nobody has."""
        minute = datetime.fromisoformat(self._header.created).strftime("%Y%m%d-%H%M")
        for number in itertools.count(1):
            path = self._folder / f"{minute}{f'-{number}' * (number > 1)}.jsonl"
            lock = None if path.exists() else _lock(path)
            if lock and not path.exists():
                self._lock, self._header = lock, replace(self._header, id=path.stem)
                return
            if lock:
                lock.release()  # it was begun and left between the two looks


def read(path: Path) -> Recording:
    """What a file holds, open elsewhere or not. Raises CgcliError where it is damaged or cannot be read."""
    try:
        data = read_bytes(path, MAX_BYTES)
    except OSError as error:
        raise unreadable(path, error) from error
    first, *rest = data.split(b"\n")
    torn = len(rest.pop()) if rest else 0
    try:
        header = records.header(first)
    except ValueError as error:
        hint = f"another version of cgcli may read it; cgcli sessions rm {path.stem} removes it"
        raise CgcliError(f"damaged: {path}, line 1: {error}", hint=hint) from error
    history = History.of(header.program)
    for number, line in enumerate(rest, 2):
        try:
            history.apply(records.entry(line).event)
        except (ValueError, IndexError) as error:
            hint = f"the lines before it are whole: head -n {number - 1} {path}"
            raise CgcliError(f"damaged: {path}, line {number}: {error}", hint=hint) from error
    return Recording(header, history, len(data) - torn, torn)


def hold(path: Path) -> BaseFileLock:
    """Keep a program from being opened elsewhere, until the lock is released. Raises CgcliError where it is open."""
    try:
        lock = _lock(path, wait_s=_GLANCE_S)
    except OSError as error:
        raise disk_error(path, error) from error
    if lock is None:
        raise CgcliError(f"program {path.stem} is open in another cgcli", hint=f"cgcli sessions show {path.stem}")
    return lock


def is_open(path: Path) -> bool:
    """Whether somebody has the program open now, this process included."""
    if not _lock_file(path).exists():
        return False
    with suppress(OSError):
        lock = _lock(path)
        if lock is None:
            return True
        lock.release()
    return False


def forget(path: Path) -> None:
    """Remove a program. Raises CgcliError where it is open, or cannot be removed."""
    lock = hold(path)
    try:
        path.unlink()
        _lock_file(path).unlink(missing_ok=True)
    except OSError as error:
        raise disk_error(path, error) from error
    finally:
        lock.release()


def _lock(path: Path, wait_s: float = 0) -> BaseFileLock | None:
    """The lock of a program, taken; None where it is somebody else's, and still is after `wait_s` seconds."""
    file = _lock_file(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # what people ask for is nobody else's business
    file.parent.mkdir(exist_ok=True)
    return take_lock(file, wait_s)


def _lock_file(path: Path) -> Path:
    return path.parent / ".locks" / f"{path.stem}.lock"


def _overwrite(path: Path, begin: int, data: bytes) -> None:
    """Let `data` be all that follows `begin`, on the disk itself; where the disk says no, nothing follows it.

    Raises OSError; also where something follows it already that is no part of `data`: somebody else wrote it.
    """
    if path.stat().st_size < begin or not data.startswith(_from(path, begin)):
        raise OSError(errno.ESTALE, "somebody else has changed it")
    try:
        with path.open("r+b") as file:
            file.truncate(begin)
            file.seek(begin)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            os.truncate(path, begin)
        raise


def _from(path: Path, begin: int) -> bytes:
    with path.open("rb") as file:
        file.seek(begin)
        return file.read()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
