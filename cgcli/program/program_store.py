"""The programs of the data folder: made, found by id or by file, listed, removed. How they are kept is journal.py's."""

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
from cgcli.program.journal import MAX_BYTES, Journal, Recording, forget, is_open, read
from cgcli.program.program import Program
from cgcli.program.records import spelt
from cgcli.program.source import digest


@dataclass(frozen=True)
class Summary:
    """A program in a list. when: something was last done, in UTC; size in bytes; title: its first prompt; file: where
    it was last saved; open: in some cgcli now; damage: why nothing more is known of it."""

    id: str
    when: datetime
    size: int
    open: bool
    turns: int = 0
    title: str = ""
    file: str | None = None
    damage: str | None = None


class ProgramStore:
    """The programs under one folder, which need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def new(self, program: Program, language: str) -> Journal:
        """A journal of a new program; it is on the programs from its first event on."""
        return Journal.new(self.folder, program, language)

    def ids(self) -> tuple[str, ...]:
        """The programs there are, the one that something was last done to first."""
        return tuple(path.stem for _, path, _ in sorted(self._files(), reverse=True))

    def find(self, wanted: str) -> str:
        """The id that is `wanted`, or the only one that begins or ends so. Raises UsageError."""
        ids = self.ids()
        if wanted in ids:
            return wanted
        found = [one for one in ids if one.startswith(wanted) or one.endswith(wanted)]
        if len(found) == 1:
            return found[0]
        if found:
            some = f"{', '.join(found[:3])}{', …' * (len(found) > 3)}"
            raise UsageError(f"{len(found)} programs are named like {wanted!r}: {some}", hint="cgcli sessions")
        raise UsageError(f"no program {wanted!r}{nearest(wanted, ids)}", hint="cgcli sessions")

    def open(self, wanted: str) -> Journal:
        """Go on with a program. Raises UsageError where `find` does, CgcliError where it is open or damaged."""
        return Journal.open(self._path(self.find(wanted)))

    def read(self, wanted: str) -> Recording:
        """Look at a program, open elsewhere or not. Raises UsageError where `find` does, CgcliError where damaged."""
        return read(self._path(self.find(wanted)))

    def latest(self) -> Journal | None:
        """Go on with what something was last done to; None where the programs is empty. Raises like `open`."""
        ids = self.ids()
        return self.open(ids[0]) if ids else None

    def of_file(self, path: Path, text: str) -> Journal | None:
        """Go on with the program that was last saved to that file with that very text; None where there is none.

        Raises CgcliError where it is open elsewhere.
        """
        wanted = Saved(str(path.resolve()), digest(text))
        for one, saved in self._saved(wanted.path, wanted.text):
            if saved == wanted:
                return self.open(one)
        return None

    def wrote(self, path: Path) -> str | None:
        """The id of the program that was last saved to a file, whatever that holds now; None where there is none."""
        name = str(path.resolve())
        return next((one for one, saved in self._saved(name) if saved.path == name), None)

    def _saved(self, *words: str) -> Iterator[tuple[str, Saved]]:
        """Ids, and where the program was last saved, of those whose file has these words: no other is understood."""
        marks = [spelt(word) for word in words]
        for one in self.ids():
            try:
                data = read_bytes(self._path(one), MAX_BYTES)
                saved = read(self._path(one)).history.saved if all(mark in data for mark in marks) else None
            except (OSError, CgcliError):
                continue
            if saved:
                yield one, saved

    def list(self) -> tuple[Summary, ...]:
        """Every program, the one that something was last done to first; a damaged one with what is wrong with it."""
        return tuple(self._summary(*one) for one in sorted(self._files(), reverse=True))

    def remove(self, wanted: str) -> str:
        """Remove a program; returns its id. Raises UsageError where `find` does, CgcliError where it is open."""
        found = self.find(wanted)
        forget(self._path(found))
        return found

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"

    def _files(self) -> Iterator[tuple[float, Path, int]]:
        """When each file was last written to, in seconds, the file, and its size in bytes."""
        for path in self.folder.glob("*.jsonl"):
            with suppress(FileNotFoundError):  # removed meanwhile
                found = path.stat()
                yield found.st_mtime, path, found.st_size

    def _summary(self, when: float, path: Path, size: int) -> Summary:
        at, opened = datetime.fromtimestamp(when, UTC), is_open(path)
        try:
            history = read(path).history
        except CgcliError as error:
            return Summary(path.stem, at, size, opened, damage=error.message)
        program = history.program
        title = next((turn.prompt for turn in program.turns if turn.prompt), "")
        file = history.saved.path if history.saved else None
        return Summary(path.stem, at, size, opened, len(program.turns), title.partition("\n")[0], file)
