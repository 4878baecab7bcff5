"""The journal of an open program: its history on disk. An event is in the file when `append` returns.

    FOLDER/ID.jsonl         the program, in the format of records.py
    FOLDER/.locks/ID.lock   locked while the program is open; the lock of a killed process is free

The file and its id are created by the first event, so an unused program leaves no trace. program_store.py lists and
finds programs.
"""

from __future__ import annotations

import errno
import itertools
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cgcli import __version__
from cgcli.core.errors import CgcliError
from cgcli.core.files import disk_error, take_lock, write_atomic
from cgcli.core.reading import read_bytes, unreadable
from cgcli.program import records
from cgcli.program.history import Event, History, Saved
from cgcli.program.program import Program
from cgcli.program.records import FORMAT, Entry, JournalHeader

if TYPE_CHECKING:
    from filelock import BaseFileLock

MAX_BYTES = 1 << 28
"""Size of a file: weeks of work."""

_GLANCE_S = 0.05
"""`is_open` holds a program's lock for less than this."""


@dataclass(frozen=True)
class Recording:
    """The contents of a journal file."""

    header: JournalHeader
    history: History
    whole: int  # bytes of complete lines
    torn: int = 0  # bytes after them, of a line whose writing was cut off
    saved_at: str = ""  # time of the last save


class Journal:
    """A program's history, recorded on disk. Created by `new` and `open`."""

    def __init__(self, folder: Path, header: JournalHeader, history: History) -> None:
        self._folder = folder
        self._header = header
        self.history = history
        self.note: str | None = None  # repair message for the user
        self._lock: BaseFileLock | None = None
        self._whole = 0  # bytes of the file that are complete; anything after them is overwritten
        self._pending = b""  # bytes to write there

    @classmethod
    def new(cls, folder: Path, program: Program, language: str) -> Journal:
        """The journal of a new program. Writes nothing yet."""
        first = JournalHeader(FORMAT, "", _now(), language, __version__, program.prefix, program.layout, program.turns)
        return cls(folder, first, History.of(program))

    @classmethod
    def open(cls, path: Path) -> Journal:
        """The journal of an existing program. Removes an incomplete last line, and then sets `note`.

        Raises CgcliError if it is open elsewhere, damaged, or unreadable.
        """
        lock = hold(path)
        try:
            found = read_journal(path)
            journal = cls(path.parent, replace(found.header, id=path.stem), found.history)
            journal._whole = found.whole
            if found.torn:
                os.truncate(path, found.whole)
                journal.note = f"{path}: removed the last {found.torn} bytes, an incomplete record"
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
        """The id for resuming the program; empty before the first event."""
        return self._header.id

    @property
    def path(self) -> Path:
        return self._folder / f"{self.id}.jsonl"

    @property
    def language(self) -> str:
        return self._header.language

    def append(self, *events: Event) -> None:
        """Apply events to the history and write them at once.

        Raises IndexError at an impossible event, which like those after it is not applied. Raises CgcliError if writing
        fails: the events are then applied all the same, and written with the next ones, or by `flush`.
        """
        for event in events:
            written = records.line(Entry(_now(), event))
            self.history.apply(event)
            self._pending += written
        self.flush()

    def flush(self, hint: str = "it is kept in memory and written with the next step") -> None:
        """Write what could not be written before. Raises CgcliError with this hint if that fails again."""
        if self._pending:
            self._write(hint)

    def close(self) -> None:
        """Write what is pending and unlock the program. Raises CgcliError if writing fails: the changes are then lost.

        To continue in that case, call `flush` first.
        """
        try:
            self.flush(hint="the changes since the last write are lost")
        finally:
            if self._lock:
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
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
        """Take the first free id of this minute."""
        minute = datetime.fromisoformat(self._header.created).strftime("%Y%m%d-%H%M")
        for number in itertools.count(1):
            path = self._folder / f"{minute}{f'-{number}' * (number > 1)}.jsonl"
            lock = None if path.exists() else _lock(path)
            if lock and not path.exists():
                self._lock, self._header = lock, replace(self._header, id=path.stem)
                return
            if lock:
                lock.release()  # another process created and closed it between the two checks


def read_journal(path: Path) -> Recording:
    """The contents of a file, even if it is open elsewhere. Raises CgcliError if it is damaged or unreadable."""
    try:
        data = read_bytes(path, MAX_BYTES)
    except OSError as error:
        raise unreadable(path, error) from error
    first, *rest = data.split(b"\n")
    torn = len(rest.pop()) if rest else 0
    try:
        header = records.header(first)
    except ValueError as error:
        hint = f"another version of cgcli may read it; to remove it: cgcli sessions rm {path.stem}"
        raise CgcliError(f"damaged: {path}, line 1: {error}", hint=hint) from error
    history, saved_at = History.of(header.program), ""
    for number, line in enumerate(rest, 2):
        try:
            entry = records.entry(line)
            history.apply(entry.event)
            saved_at = entry.time if isinstance(entry.event, Saved) else saved_at
        except (ValueError, IndexError) as error:
            hint = f"the lines before it are intact: head -n {number - 1} {path}"
            raise CgcliError(f"damaged: {path}, line {number}: {error}", hint=hint) from error
    return Recording(header, history, len(data) - torn, torn, saved_at)


def hold(path: Path) -> BaseFileLock:
    """Lock a program, so that it cannot be opened elsewhere. Raises CgcliError if it is open."""
    try:
        lock = _lock(path, wait_s=_GLANCE_S)
    except OSError as error:
        raise disk_error(path, error) from error
    if lock is None:
        raise CgcliError(f"program {path.stem} is open in another cgcli", hint=f"cgcli sessions show {path.stem}")
    return lock


def is_open(path: Path) -> bool:
    """Whether the program is open, in this process or another."""
    if not _lock_file(path).exists():
        return False
    with suppress(OSError):
        lock = _lock(path)
        if lock is None:
            return True
        lock.release()
    return False


def remove(path: Path) -> None:
    """Remove a program. Raises CgcliError if it is open or cannot be removed."""
    lock = hold(path)
    try:
        path.unlink()
        path.with_suffix(".state").unlink(missing_ok=True)  # of its model, saved when the REPL was left
        _lock_file(path).unlink(missing_ok=True)
    except OSError as error:
        raise disk_error(path, error) from error
    finally:
        lock.release()


def _lock(path: Path, wait_s: float = 0) -> BaseFileLock | None:
    """Take the lock of a program; None if it is still taken after `wait_s` seconds."""
    file = _lock_file(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # prompts are private
    file.parent.mkdir(exist_ok=True)
    return take_lock(file, wait_s)


def _lock_file(path: Path) -> Path:
    return path.parent / ".locks" / f"{path.stem}.lock"


def _overwrite(path: Path, begin: int, data: bytes) -> None:
    """Replace what follows byte `begin` by `data`, synced to disk; if that fails, nothing follows it.

    Raises OSError, also if another process has written something there.
    """
    if path.stat().st_size < begin or not data.startswith(_from(path, begin)):
        raise OSError(errno.ESTALE, "another program has changed it")
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
    return datetime.now(UTC).isoformat(timespec="milliseconds")
