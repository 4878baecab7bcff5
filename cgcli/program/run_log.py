"""The log of runs of `gen`: an SQLite database in the data folder, with full-text search.

A row is begun before the first byte of a run's text and ended after the last, so a run that was killed has a row
without an end. The program that a run began with is stored once, by its digest. Nothing is flushed to the disk while a
run waits: what a process has written survives its death, though not that of the machine.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cgcli.core.errors import CgcliError, UsageError
from cgcli.core.machine import process_mark
from cgcli.core.typed import typed
from cgcli.program import records
from cgcli.program.program import Layout, Program, Turn
from cgcli.program.program_store import ProgramStore
from cgcli.program.recorded import Recorded, file_digest
from cgcli.program.source import decode, digest, encode

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


@dataclass(frozen=True)
class RunEnd:
    """What a run came to."""

    text: str  # that was written
    turns: tuple[Turn, ...]
    verdict: str  # of running the program, in words; "" if it was not run
    status: int  # of the process


@dataclass(frozen=True)
class LoggedRun:
    """A row of the log."""

    number: int
    begun: datetime
    start: RunStart
    ended: datetime | None
    end: RunEnd | None  # None: it is running, or was killed
    running: bool

    @property
    def state(self) -> str:
        """In a word, for the user; "" for a run that did what it should."""
        if self.end is None:
            return "running" if self.running else "killed"
        return {0: "", 130: "interrupted", 8: "program failed"}.get(self.end.status, "failed")

    @property
    def title(self) -> str:
        """The first line of the first prompt."""
        return next((prompt for prompt in self.start.prompts if prompt), "").partition("\n")[0]

    @property
    def program(self) -> str:
        """The program so far, and what the run added."""
        return self.start.before + (self.end.text if self.end else "")


@dataclass(frozen=True)
class Match:
    """A run or a session that a search found."""

    run: LoggedRun | None
    session: str  # its id, or ""
    when: datetime
    prompts: str  # a line each


class RunLog:
    """The log in one file, which is created by the first run. Every method raises CgcliError if SQLite fails."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None

    # --- writing

    def begin(self, start: RunStart) -> int:
        """Add a row. Returns its number."""
        with self._writing() as connection:
            before = digest(start.before) if start.before else ""
            if before:
                connection.execute(f"INSERT OR IGNORE INTO programs VALUES ({_T}, {_T})", _bytes(before, start.before))
            kept = {
                "command": start.command,
                "prompts": start.prompts,
                "prefix": None if start.prefix == start.before else start.prefix,
                "language": start.language,
                "layout": records.plain(start.layout),
                "comments": start.comments,
                "how": start.how,
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
                f"VALUES ({', '.join([_T] * 7)}) RETURNING number",
                (*_bytes(*values), file),
            )
            return int(row.fetchone()[0])

    def finish(self, number: int, start: RunStart, end: RunEnd) -> None:
        """End a row that this process has begun."""
        turns = _json([records.plain(turn) for turn in end.turns])
        with self._writing() as connection:
            connection.execute(
                f"UPDATE runs SET (ended, text, piece, whole, turns, verdict, status) = ({', '.join([_T] * 6)}, ?) "
                "WHERE number = ?",
                (
                    *_bytes(
                        *(_now(), end.text, file_digest(end.text), file_digest(start.before + end.text)),
                        *(turns, end.verdict),
                    ),
                    end.status,
                    number,
                ),
            )

    def prune(self, days: int) -> int:
        """Remove the runs that began more than `days` days ago. Returns how many they were."""
        oldest = (datetime.now(UTC) - timedelta(days=days)).isoformat()
        with self._writing(wait_s=10) as connection:
            removed = connection.execute("DELETE FROM runs WHERE begun < ?", (oldest,)).rowcount
            connection.execute("DELETE FROM programs WHERE digest NOT IN (SELECT before FROM runs)")
        with self._reading() as connection:
            connection.execute("VACUUM")
        return removed

    # --- reading

    def run(self, number: int) -> LoggedRun:
        """Raises UsageError if there is no such run."""
        found = self._rows("WHERE number = ?", number)
        if not found:
            raise UsageError(f"no run {number} in the log", hint="cgcli log")
        return found[0]

    def last(self, count: int) -> list[LoggedRun]:
        """The last runs, the latest first."""
        return self._rows("ORDER BY number DESC LIMIT ?", count)

    def last_text(self, folder: str) -> LoggedRun | None:
        """The last run in a folder that wrote something."""
        return self._first("WHERE folder = ? AND text <> '' ORDER BY number DESC LIMIT 1", folder)

    def of_text(self, text: str) -> LoggedRun | None:
        """The last run that wrote this text, with or without the program so far."""
        name = file_digest(text)
        return self._first("WHERE whole = ? OR piece = ? ORDER BY number DESC LIMIT 1", name, name)

    def of_file(self, path: Path) -> LoggedRun | None:
        """The last run that wrote to this file."""
        return self._first("WHERE file = ? AND text <> '' ORDER BY number DESC LIMIT 1", str(path.resolve()))

    def search(self, words: str, count: int, programs: ProgramStore) -> list[Match]:
        """The last runs and sessions whose prompts or text have words that begin so, the latest first.

        Reads the sessions that changed since the last search.
        """
        query = " ".join(f'"{word}"*' for word in re.findall(r"\w+", words))
        if not query:
            raise UsageError("nothing to search for", hint='cgcli log -q "csv mean"')
        self._read_sessions(programs)
        found = [
            Match(run, "", run.begun, "\n".join(one for one in run.start.prompts if one))
            for run in self._rows(
                "WHERE number IN (SELECT rowid FROM runs_words WHERE runs_words MATCH ? ORDER BY rowid DESC LIMIT ?) "
                "ORDER BY number DESC",
                query,
                count,
            )
        ]
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT id, changed, prompts FROM sessions WHERE number IN "
                "(SELECT rowid FROM sessions_words WHERE sessions_words MATCH ?) ORDER BY changed DESC LIMIT ?",
                (query, count),
            ).fetchall()
        found += [Match(None, name, datetime.fromtimestamp(at / 1e9, UTC), prompts) for name, at, prompts in rows]
        return sorted(found, key=lambda one: one.when, reverse=True)[:count]

    def _read_sessions(self, programs: ProgramStore) -> None:
        if not self._writable:
            return
        files = {path.stem: path.stat() for path in programs.folder.glob("*.jsonl")}
        with self._reading() as connection:
            known = {row[0]: (row[1], row[2]) for row in connection.execute("SELECT id, changed, size FROM sessions")}
        fresh = [name for name, one in files.items() if known.get(name) != (one.st_mtime_ns, one.st_size)]
        gone = known.keys() - files.keys()
        if not fresh and not gone:
            return
        with self._writing(wait_s=5) as connection:
            connection.executemany("DELETE FROM sessions WHERE id = ?", [(name,) for name in (*gone, *fresh)])
            for name in fresh:
                with suppress(CgcliError):  # a damaged one; `cgcli sessions` says so
                    program = programs.read(name).history.program
                    prompts = "\n".join(turn.prompt for turn in program.turns if turn.prompt)
                    at = files[name]
                    connection.execute(
                        f"INSERT INTO sessions (id, prompts, text, changed, size) VALUES ({_T}, {_T}, {_T}, ?, ?)",
                        (*_bytes(name, prompts, program.source()), at.st_mtime_ns, at.st_size),
                    )

    def _first(self, where: str, *values: object) -> LoggedRun | None:
        return next(iter(self._rows(where, *values)), None)

    def _rows(self, where: str, *values: object) -> list[LoggedRun]:
        if not self.path.exists():
            return []
        bound = [encode(value) if isinstance(value, str) else value for value in values]
        for value in values:
            where = where.replace("?", _T.replace("?", "$") if isinstance(value, str) else "$", 1)
        where = where.replace("$", "?")
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT number, begun, process, folder, start, file, ended, text, turns, verdict, status, "
                f"(SELECT text FROM programs WHERE digest = before) FROM runs {where}",
                bound,
            ).fetchall()
        try:
            return [_logged(row) for row in rows]
        except (ValueError, TypeError, KeyError) as error:
            raise self._damaged(str(error)) from error

    # --- SQLite

    def close(self) -> None:
        if self._connection:
            connection, self._connection = self._connection, None
            with suppress(sqlite3.Error):
                connection.close()

    @property
    def _writable(self) -> bool:
        return os.access(self.path if self.path.exists() else self.path.parent, os.W_OK)

    @contextmanager
    def _writing(self, wait_s: float = _WAIT_S) -> Iterator[sqlite3.Connection]:
        """A transaction. wait_s: for another process that writes."""
        with self._reading(wait_s) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextmanager
    def _reading(self, wait_s: float = 1) -> Iterator[sqlite3.Connection]:
        try:
            if self._connection is None:
                self._connection = self._connect(wait_s)
            self._connection.execute(f"PRAGMA busy_timeout = {round(1000 * wait_s)}")
            yield self._connection
        except (sqlite3.Error, OSError) as error:
            self.close()
            damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
            if damaged:
                raise self._damaged(str(error)) from error
            words = (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
            raise CgcliError(f"cannot use the log {self.path}: {words}") from error

    def _damaged(self, words: str) -> CgcliError:
        return CgcliError(
            f"the log {self.path} is damaged: {words}", hint="move it away; the next run begins a new one"
        )

    def _connect(self, wait_s: float) -> sqlite3.Connection:
        if self._writable or not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(self.path, timeout=wait_s, isolation_level=None)
        else:
            uri = f"{self.path.resolve().as_uri()}?immutable=1"
            connection = sqlite3.connect(uri, uri=True, isolation_level=None)
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

    def _create(self, connection: sqlite3.Connection) -> None:
        try:
            connection.executescript(_SCHEMA)
        except sqlite3.Error:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            if not connection.execute("PRAGMA user_version").fetchone()[0]:  # else another process was faster
                raise


def recorded_run(run: LoggedRun) -> Recorded:
    """How the program of a run was written."""
    start = run.start
    program = Program(start.prefix, run.end.turns if run.end else (), start.layout)
    return Recorded(program, start.language, start.before, start.comments, f"run {run.number}")


_T = "CAST(? AS TEXT)"
"""A text of any bytes; SQLite's own conversion refuses those that are not UTF-8."""


def _bytes(*values: str) -> tuple[bytes, ...]:
    return tuple(map(encode, values))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class _Start:
    """The column `start`."""

    command: tuple[str, ...]
    prompts: tuple[str | None, ...]
    prefix: str | None
    language: str
    layout: Layout
    comments: bool
    how: dict[str, Any]


def _logged(row: Sequence[Any]) -> LoggedRun:
    number, begun, process, folder, start, file, ended, text, turns, verdict, status, before = row
    kept: _Start = typed(_Start, json.loads(start), "start")
    before = before or ""
    prefix = before if kept.prefix is None else kept.prefix
    first = RunStart(
        folder, kept.command, kept.prompts, before, prefix, kept.language, kept.layout, kept.comments, file, kept.how
    )
    end = None
    if ended is not None:
        end = RunEnd(text, typed(tuple[Turn, ...], json.loads(turns), "turns"), verdict, status)
    pid = process.partition(" ")[0]
    running = end is None and pid.isdigit() and process_mark(int(pid)) == process
    return LoggedRun(
        number,
        datetime.fromisoformat(begun),
        first,
        datetime.fromisoformat(ended) if ended else None,
        end,
        running,
    )
