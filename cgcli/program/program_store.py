"""The programs in the data folder: creates, finds, lists and removes them. journal.py reads and writes each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cgcli.core.config import nearest
from cgcli.core.errors import CgcliError, UsageError
from cgcli.core.reading import read_bytes
from cgcli.program.history import Saved
from cgcli.program.journal import MAX_BYTES, Journal, Recording, is_open, read_journal, remove
from cgcli.program.program import Program
from cgcli.program.recorded import Recorded, file_digest
from cgcli.program.records import quoted
from cgcli.program.source import digest


@dataclass(frozen=True)
class Summary:
    """A program in a list."""

    id: str
    when: datetime  # of the last change, in UTC
    size: int  # bytes
    open: bool  # now, in any cgcli
    turns: int = 0
    title: str = ""  # the first line of its first prompt
    file: str | None = None  # that it was last saved to
    empty: bool = False  # it has never had a turn
    damage: str | None = None  # the error, if the journal cannot be read


class ProgramStore:
    """The programs in one folder, which need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def new(self, program: Program, language: str) -> Journal:
        """The journal of a new program, which is in the store from its first event on."""
        return Journal.new(self.folder, program, language)

    def ids(self) -> tuple[str, ...]:
        """The ids of all programs, the last changed first."""
        return tuple(path.stem for _, path, _ in sorted(self._files(), reverse=True))

    def find(self, wanted: str) -> str:
        """The id `wanted`, or the only one that begins or ends with it. Raises UsageError."""
        ids = self.ids()
        if wanted in ids:
            return wanted
        found = [one for one in ids if one.startswith(wanted) or one.endswith(wanted)]
        if len(found) == 1:
            return found[0]
        if found:
            some = f"{', '.join(found[:3])}{', …' * (len(found) > 3)}"
            raise UsageError(f"{wanted!r} matches {len(found)} programs: {some}", hint="cgcli sessions")
        raise UsageError(f"no program {wanted!r}{nearest(wanted, ids)}", hint="cgcli sessions")

    def open(self, wanted: str) -> Journal:
        """Open a program. Raises UsageError as `find`, CgcliError if it is open or damaged."""
        return Journal.open(self._path(self.find(wanted)))

    def read(self, wanted: str) -> Recording:
        """Read a program, even if it is open. Raises UsageError as `find`, CgcliError if it is damaged."""
        return read_journal(self._path(self.find(wanted)))

    def latest(self) -> Journal | None:
        """Open the program that was changed last; None if there are no programs. Raises as `open`."""
        ids = self.ids()
        return self.open(ids[0]) if ids else None

    def of_file(self, path: Path, text: str) -> Journal | None:
        """Open the program that was last saved to this file with this text; None if there is none.

        Raises CgcliError if it is open elsewhere.
        """
        wanted = Saved(str(path.resolve()), digest(text))
        found = self._saved(wanted.path, wanted.text)
        one = next((one for one, saved, _ in found if saved == wanted), None)
        return self.open(one) if one else None

    def with_text(self, text: str) -> Recorded | None:
        """The last changed program that was saved with this text, whatever became of the file; as it was then."""
        name = file_digest(text)
        versions = (_version(recording, name, one) for one, _, recording in self._saved(name))
        return next((found for found in versions if found), None)

    def last_saved_in(self, folder: Path) -> tuple[datetime, Recorded] | None:
        """The program that was last saved to a file in this folder, as it was then, and when; None if there is none."""
        here = (one for one in self._saved() if Path(one[1].path).parent == folder)
        one, saved, recording = max(here, key=lambda one: one[2].saved_at, default=("", None, None))
        if saved is None or recording is None or (found := _version(recording, saved.text, one)) is None:
            return None
        return datetime.fromisoformat(recording.saved_at), found

    def saved_to(self, path: Path) -> str | None:
        """The id of the program that was last saved to this file, whatever its text; None if there is none."""
        name = str(path.resolve())
        return next((one for one, saved, _ in self._saved(name) if saved.path == name), None)

    def _saved(self, *words: str) -> Iterator[tuple[str, Saved, Recording]]:
        """Ids, last saves and contents of the programs whose file contains these words; other files are not parsed."""
        marks = [quoted(word) for word in words]
        for one in self.ids():
            try:
                data = read_bytes(self._path(one), MAX_BYTES)
                found = read_journal(self._path(one)) if all(mark in data for mark in marks) else None
            except (OSError, CgcliError):
                continue
            if found and found.history.saved:
                yield one, found.history.saved, found

    def list(self) -> tuple[Summary, ...]:
        """All programs, the last changed first; damaged ones with the error."""
        return tuple(self._summary(*one) for one in sorted(self._files(), reverse=True))

    def remove(self, wanted: str) -> str:
        """Remove a program and return its id. Raises UsageError as `find`, CgcliError if it is open."""
        found = self.find(wanted)
        remove(self._path(found))
        return found

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"

    def _files(self) -> Iterator[tuple[float, Path, int]]:
        """Each file: when it was last written, in seconds; its path; its size in bytes."""
        for path in self.folder.glob("*.jsonl"):
            with suppress(FileNotFoundError):  # removed meanwhile
                found = path.stat()
                yield found.st_mtime, path, found.st_size

    def _summary(self, when: float, path: Path, size: int) -> Summary:
        at, opened = datetime.fromtimestamp(when, UTC), is_open(path)
        try:
            history = read_journal(path).history
        except CgcliError as error:
            return Summary(path.stem, at, size, opened, damage=error.message)
        program = history.program
        title = next((turn.prompt for turn in program.turns if turn.prompt), "")
        file = history.saved.path if history.saved else None
        empty = not any(version.program.turns for version in history.versions)
        return Summary(path.stem, at, size, opened, len(program.turns), title.partition("\n")[0], file, empty)


def _version(recording: Recording, name: str, session: str) -> Recorded | None:
    """The last version whose text in a file has this digest; None if there is none."""
    for version in reversed(recording.history.versions):
        if file_digest(version.program.source()) == name:
            prefix = version.program.prefix
            return Recorded(version.program, recording.header.language, prefix, True, f"session {session}")
    return None
