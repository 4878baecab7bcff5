"""Reads the log of runs: by number, by what they wrote, and by words in them and in the REPL's sessions."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgcli.core.errors import CgcliError, UsageError
from cgcli.core.machine import process_mark
from cgcli.core.typed import typed
from cgcli.program.program import Layout, Program, Turn
from cgcli.program.recorded import Recorded, file_digest
from cgcli.program.run_log import RunEnd, RunLog, RunStart, text_places, text_values
from cgcli.program.source import encode

if TYPE_CHECKING:
    from cgcli.program.program_store import ProgramStore

_MOST = 2**63 - 1
"""SQLite's largest integer."""


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


class LogReader(RunLog):
    """The log, also for reading. Every method raises CgcliError if SQLite fails."""

    def run(self, number: int) -> LoggedRun:
        """Raises UsageError if there is no such run."""
        found = self._rows("WHERE number = ?", number) if abs(number) <= _MOST else []
        if not found:
            raise UsageError(f"no run {number} in the log", hint="cgcli log")
        return found[0]

    def last(self, count: int) -> list[LoggedRun]:
        """The last runs, the latest first."""
        return self._rows("ORDER BY number DESC LIMIT ?", min(count, _MOST))

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

    def turns_of(self, path: Path, count: int) -> list[Turn]:
        """The turns of the last `count` runs that wrote to this file."""
        found = self._rows("WHERE file = ? AND text <> '' ORDER BY number DESC LIMIT ?", str(path.resolve()), count)
        return [turn for run in found if run.end for turn in run.end.turns]

    def search(self, words: str, count: int, programs: ProgramStore) -> list[Match]:
        """The last runs and sessions whose prompts or text have words that begin so, the latest first.

        Reads the sessions that changed since the last search.
        """
        query = " ".join(f'"{word}"*' for word in re.findall(r"\w+", words))
        if not query:
            raise UsageError("nothing to search for", hint='cgcli log -q "csv mean"')
        self._read_sessions(programs)
        count = min(count, _MOST)
        found = [
            Match(run, "", run.begun, "\n".join(one for one in run.start.prompts if one))
            for run in self._rows(
                "WHERE number IN (SELECT rowid FROM runs_words WHERE runs_words MATCH ? ORDER BY rowid DESC LIMIT ?) "
                "ORDER BY number DESC",
                query,
                count,
            )
        ]
        with self.reading() as connection:
            rows = connection.execute(
                "SELECT id, changed, prompts FROM sessions WHERE number IN "
                "(SELECT rowid FROM sessions_words WHERE sessions_words MATCH ?) ORDER BY changed DESC LIMIT ?",
                (query, count),
            ).fetchall()
        found += [Match(None, name, datetime.fromtimestamp(at / 1e9, UTC), prompts) for name, at, prompts in rows]
        return sorted(found, key=lambda one: one.when, reverse=True)[:count]

    def _read_sessions(self, programs: ProgramStore) -> None:
        if not self.writable:
            return
        files = {path.stem: path.stat() for path in programs.folder.glob("*.jsonl")}
        with self.reading() as connection:
            known = {row[0]: (row[1], row[2]) for row in connection.execute("SELECT id, changed, size FROM sessions")}
        fresh = [name for name, one in files.items() if known.get(name) != (one.st_mtime_ns, one.st_size)]
        gone = known.keys() - files.keys()
        if not fresh and not gone:
            return
        with self.writing(wait_s=5) as connection:
            connection.executemany("DELETE FROM sessions WHERE id = ?", [(name,) for name in (*gone, *fresh)])
            for name in fresh:
                with suppress(CgcliError):  # a damaged one; `cgcli sessions` says so
                    program = programs.read(name).history.program
                    prompts = "\n".join(turn.prompt for turn in program.turns if turn.prompt)
                    at = files[name]
                    connection.execute(
                        f"INSERT INTO sessions (id, prompts, text, changed, size) VALUES ({text_places(3)}, ?, ?)",
                        (*text_values(name, prompts, program.source()), at.st_mtime_ns, at.st_size),
                    )

    def _first(self, where: str, *values: object) -> LoggedRun | None:
        return next(iter(self._rows(where, *values)), None)

    def _rows(self, where: str, *values: object) -> list[LoggedRun]:
        if not self.there:
            return []
        bound = [encode(value) if isinstance(value, str) else value for value in values]
        for value in values:
            where = where.replace("?", text_places(1).replace("?", "$") if isinstance(value, str) else "$", 1)
        where = where.replace("$", "?")
        with self.reading() as connection:
            rows = connection.execute(
                "SELECT number, begun, process, folder, start, file, ended, text, turns, verdict, status, "
                f"(SELECT text FROM programs WHERE digest = before) FROM runs {where}",
                bound,
            ).fetchall()
        try:
            return [_logged(row) for row in rows]
        except (ValueError, TypeError, KeyError) as error:
            raise self.damaged(str(error)) from error


def recorded_run(run: LoggedRun) -> Recorded:
    """How the program of a run was written."""
    start = run.start
    program = Program(start.prefix, run.end.turns if run.end else (), start.layout)
    return Recorded(program, start.language, start.before, start.comments, f"run {run.number}")


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
    replaced: str = ""


def _logged(row: Sequence[Any]) -> LoggedRun:
    number, begun, process, folder, start, file, ended, text, turns, verdict, status, before = row
    kept: _Start = typed(_Start, json.loads(start), "start")
    before = before or ""
    prefix = before if kept.prefix is None else kept.prefix
    first = RunStart(
        *(folder, kept.command, kept.prompts, before, prefix, kept.language, kept.layout, kept.comments),
        *(file, kept.how, kept.replaced),
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
