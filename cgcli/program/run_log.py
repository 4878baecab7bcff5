"""The log of runs of `gen`: an SQLite database in the data folder, with full-text search.

A row is begun before the first byte of a run's text and ended after the last, so a run that was killed has a row
without an end. The program that a run began with is stored once, by its digest. Nothing is flushed to the disk while a
run waits: what a process has written survives its death, though not that of the machine.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgcli.core.errors import CgcliError
from cgcli.core.machine import process_mark
from cgcli.core.typed import plain
from cgcli.program.program import Layout, Turn
from cgcli.program.recorded import file_digest
from cgcli.program.source import decode, digest, encode

if TYPE_CHECKING:
    pass

_WAIT_S = 0.02  # for another process that is writing; it takes a millisecond
_VERSION = 1

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    begun TEXT NOT NULL,    -- ISO 8601, UTC
    process TEXT NOT NULL,  -- see process_mark
    folder TEXT NOT NULL,
    start TEXT NOT NULL,    -- a RunStart as JSON, without what has a column
    prompts TEXT NOT NULL,  -- a line each
    before TEXT NOT NULL,   -- digest of the program so far; "" for none
    file TEXT,              -- that the text was written to
    ended TEXT,
    text TEXT,              -- that was written
    piece TEXT,             -- its digest
    whole TEXT,             -- digest of the program so far and it
    turns TEXT,             -- as in a journal
    verdict TEXT,
    status INTEGER
);
CREATE INDEX by_piece ON runs (piece);
CREATE INDEX by_whole ON runs (whole);
CREATE INDEX by_folder ON runs (folder);
CREATE INDEX by_file ON runs (file);
CREATE TABLE programs (digest TEXT PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE sessions (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    changed INTEGER NOT NULL,  -- ns
    size INTEGER NOT NULL,
    prompts TEXT NOT NULL,
    text TEXT NOT NULL
);
{
    "".join(
        f'''
CREATE VIRTUAL TABLE {table}_words USING fts5(prompts, text, content={table}, content_rowid=number);
CREATE TRIGGER {table}_inserted AFTER INSERT ON {table} BEGIN
    INSERT INTO {table}_words (rowid, prompts, text) VALUES (new.number, new.prompts, new.text);
END;
CREATE TRIGGER {table}_deleted AFTER DELETE ON {table} BEGIN
    INSERT INTO {table}_words ({table}_words, rowid, prompts, text)
    VALUES ('delete', old.number, old.prompts, old.text);
END;
CREATE TRIGGER {table}_updated AFTER UPDATE ON {table} BEGIN
    INSERT INTO {table}_words ({table}_words, rowid, prompts, text)
    VALUES ('delete', old.number, old.prompts, old.text);
    INSERT INTO {table}_words (rowid, prompts, text) VALUES (new.number, new.prompts, new.text);
END;
'''
        for table in ("runs", "sessions")
    )
}
PRAGMA user_version = {_VERSION};
COMMIT;
"""


@dataclass(frozen=True)
class RunStart:
    """What is known of a run before its first byte."""

    folder: str
    command: tuple[str, ...]  # as typed, without `cgcli`
    prompts: tuple[str | None, ...]
    before: str  # the program so far
    prefix: str  # of the program: `before`, or the beginning of a new one
    language: str
    layout: Layout
    comments: bool  # whether prompts were written, too
    file: str | None  # that is written: absolute, links followed
    how: dict[str, Any] = field(default_factory=dict)  # model, sampler, versions: for people
    replaced: str = ""  # what was in that file, if cgcli did not write it


@dataclass(frozen=True)
class RunEnd:
    """What a run came to."""

    text: str  # that was written
    turns: tuple[Turn, ...]
    verdict: str  # of running the program, in words; "" if it was not run
    status: int  # of the process


class RunLog:
    """The log in one file, which is created by the first run. Every method raises CgcliError if SQLite fails."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._copy: tempfile.TemporaryDirectory[str] | None = None  # of a log that cannot be written

    # --- writing

    def begin(self, start: RunStart) -> int:
        """Add a row. Returns its number."""
        with self.writing() as connection:
            before = digest(start.before) if start.before else ""
            if before:
                connection.execute(
                    f"INSERT OR IGNORE INTO programs VALUES ({text_places(2)})", text_values(before, start.before)
                )
            kept = {
                "command": start.command,
                "prompts": start.prompts,
                "prefix": None if start.prefix == start.before else start.prefix,
                "language": start.language,
                "layout": plain(start.layout),
                "comments": start.comments,
                "how": start.how,
                "replaced": start.replaced,
            }
            values = (
                _now(),
                process_mark(os.getpid()),
                start.folder,
                _json(kept),
                "\n".join(prompt for prompt in start.prompts if prompt),
                before,
            )
            file = encode(start.file) if start.file else None
            row = connection.execute(
                f"INSERT INTO runs (begun, process, folder, start, prompts, before, file) "
                f"VALUES ({text_places(7)}) RETURNING number",
                (*text_values(*values), file),
            )
            return int(row.fetchone()[0])

    def finish(self, number: int, start: RunStart, end: RunEnd) -> None:
        """End a row that this process has begun. start: as it was, except for a file that could not be written."""
        turns = _json([plain(turn) for turn in end.turns])
        with self.writing() as connection:
            connection.execute(
                f"UPDATE runs SET (ended, text, piece, whole, turns, verdict, status, file) = "
                f"({text_places(6)}, ?, {text_places(1)}) "
                "WHERE number = ?",
                (
                    *text_values(
                        *(_now(), end.text, file_digest(end.text), file_digest(start.before + end.text)),
                        *(turns, end.verdict),
                    ),
                    end.status,
                    encode(start.file) if start.file else None,
                    number,
                ),
            )

    def prune(self, days: int) -> int:
        """Remove the runs that began more than `days` days ago. Returns how many they were."""
        try:
            oldest = (datetime.now(UTC) - timedelta(days=days)).isoformat()
        except OverflowError:  # before the year 1: nothing is that old
            return 0
        with self.writing(wait_s=10) as connection:
            removed = connection.execute("DELETE FROM runs WHERE begun < ?", (oldest,)).rowcount
            connection.execute("DELETE FROM programs WHERE digest NOT IN (SELECT before FROM runs)")
        with self.reading() as connection:
            connection.execute("VACUUM")
        return removed

    # --- SQLite

    def close(self) -> None:
        if self._connection:
            connection, self._connection = self._connection, None
            with suppress(sqlite3.Error):
                connection.close()
        if self._copy:
            self._copy.cleanup()
            self._copy = None

    @property
    def there(self) -> bool:
        """Whether the file exists; opening it says why, if nobody may know."""
        try:
            return self.path.exists()
        except OSError:
            return True

    @property
    def writable(self) -> bool:
        """SQLite creates files beside it, too."""
        return os.access(self.path.parent, os.W_OK) and (not self.there or os.access(self.path, os.W_OK))

    @contextmanager
    def writing(self, wait_s: float = _WAIT_S) -> Iterator[sqlite3.Connection]:
        """A transaction. wait_s: for another process that writes."""
        with self.reading(wait_s) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextmanager
    def reading(self, wait_s: float = 1) -> Iterator[sqlite3.Connection]:
        try:
            if self._connection is None:
                self._connection = self._connect(wait_s)
            self._connection.execute(f"PRAGMA busy_timeout = {round(1000 * wait_s)}")
            yield self._connection
        except (sqlite3.Error, OSError) as error:
            self.close()
            damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
            if damaged:
                raise self.damaged(str(error)) from error
            words = (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
            full = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
            hint = "free some space if the disk is full" if full else None
            raise CgcliError(f"cannot use the log {self.path}: {words}", hint=hint) from error

    def damaged(self, words: str) -> CgcliError:
        return CgcliError(
            f"the log {self.path} is damaged: {words}", hint="move it away; the next run begins a new one"
        )

    def _connect(self, wait_s: float) -> sqlite3.Connection:
        if self.writable or not self.there:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(self.path, timeout=wait_s, isolation_level=None)
        else:
            connection = self._connect_read_only()
        try:
            connection.text_factory = decode
            connection.execute("PRAGMA synchronous = OFF")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > _VERSION:
                raise CgcliError(f"the log {self.path} was written by a newer cgcli")
            if version == 0:
                # With a write-ahead log, nobody who reads keeps a run from writing.
                connection.execute("PRAGMA journal_mode = WAL")
                self._create(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect_read_only(self) -> sqlite3.Connection:
        """SQLite must write to read a write-ahead log, as a killed run may leave it: it then reads a copy."""
        path, how = self.path.resolve(), "immutable=1"
        ahead = path.with_name(path.name + "-wal")
        if ahead.exists():
            self._copy = tempfile.TemporaryDirectory(prefix="cgcli-")
            for file in (path, ahead):
                shutil.copyfile(file, Path(self._copy.name) / file.name)
            path, how = Path(self._copy.name) / path.name, "mode=ro"
        return sqlite3.connect(f"{path.as_uri()}?{how}", uri=True, isolation_level=None)

    def _create(self, connection: sqlite3.Connection) -> None:
        try:
            connection.executescript(_SCHEMA)
        except sqlite3.Error:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            if not connection.execute("PRAGMA user_version").fetchone()[0]:  # else another process was faster
                raise


def text_places(count: int) -> str:
    """Places for texts of any bytes in a statement; SQLite's own conversion refuses those that are not UTF-8."""
    return ", ".join(["CAST(? AS TEXT)"] * count)


def text_values(*values: str) -> tuple[bytes, ...]:
    return tuple(map(encode, values))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
