"""The versions of a program: a tree that only grows, and branches that point into it.

Whatever happens is an event: made by a method that says what would happen, written down by the journal, and applied
here, by the same code when it happens and when a journal is read again. Undo, redo and switch move a pointer; what
was undone and then built over is kept under a branch of its own.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cgcli.core.config import nearest
from cgcli.core.errors import UsageError
from cgcli.program.program import Program, Turn
from cgcli.program.source import digest, encode, from_file


@dataclass(frozen=True)
class Add:
    """A new turn at the end."""

    turn: Turn

    def apply(self, program: Program) -> Program:
        return program.add(self.turn)

    def follow(self, index: int) -> int:
        return index

    def __str__(self) -> str:
        return "a new turn"


@dataclass(frozen=True)
class Put:
    """A turn changed in its place. why: what the user asked for."""

    index: int
    turn: Turn
    why: Literal["retry", "pick", "edit", "code", "from", "replay"]

    def apply(self, program: Program) -> Program:
        return program.put(self.index, self.turn)

    def follow(self, index: int) -> int:
        return index

    def __str__(self) -> str:
        return f"{self.why} of turn {self.index + 1}"


@dataclass(frozen=True)
class Drop:
    """A turn taken out."""

    index: int

    def apply(self, program: Program) -> Program:
        return program.drop(self.index)

    def follow(self, index: int) -> int | None:
        return None if index == self.index else index - (index > self.index)

    def __str__(self) -> str:
        return f"drop of turn {self.index + 1}"


@dataclass(frozen=True)
class Move:
    """A turn moved; `to` is its index afterwards."""

    index: int
    to: int

    def apply(self, program: Program) -> Program:
        return program.move(self.index, self.to)

    def follow(self, index: int) -> int:
        if index == self.index:
            return self.to
        return index - (index > self.index) + (self.to <= index - (index > self.index))

    def __str__(self) -> str:
        return f"move of turn {self.index + 1} to {self.to + 1}"


Operation = Add | Put | Drop | Move


@dataclass(frozen=True)
class Commit:
    """An operation on the version `parent`: a new version."""

    parent: int
    operation: Operation


@dataclass(frozen=True)
class Point:
    """Branch `branch` is the current one, and points to `version`."""

    branch: str
    version: int


@dataclass(frozen=True)
class Run:
    """What a program did when it was run.

    text: its `digest`; verdict: one word or a few; output, errors: the ends of what it wrote on stdout and on stderr.
    """

    text: str
    verdict: str
    passed: bool
    seconds: float
    output: str = ""
    errors: str = ""
    arguments: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """What became of it, for a person. That a program ran does not say that it is right."""
        if not self.passed:
            return self.verdict
        return "ran" if self.output.strip() else "ran, printed nothing"


@dataclass(frozen=True)
class Saved:
    """The program was written to a file. path: absolute, links followed; text: its `digest`."""

    path: str
    text: str


@dataclass(frozen=True)
class Setting:
    """From now on this is set, at whatever version. value: as a person would type it."""

    key: str
    value: str


Event = Commit | Point | Run | Saved | Setting


@dataclass(frozen=True)
class Version:
    """A program, and the version and operation it came from; version 0 came from nothing."""

    parent: int | None
    operation: Operation | None
    program: Program


@dataclass
class History:
    """versions[n] is version n; branches: name to version, in the order they were made; runs: by the text's digest."""

    versions: list[Version]
    branches: dict[str, int] = field(default_factory=lambda: {"main": 0})
    branch: str = "main"
    runs: dict[str, Run] = field(default_factory=dict)
    saved: Saved | None = None
    settings: dict[str, str] = field(default_factory=dict)
    _forward: dict[tuple[str, int], int] = field(default_factory=dict)  # where redo goes from a version of a branch

    @classmethod
    def of(cls, program: Program) -> History:
        return cls([Version(None, None, program)])

    @property
    def at(self) -> int:
        """The current version."""
        return self.branches[self.branch]

    @property
    def program(self) -> Program:
        return self.versions[self.at].program

    @property
    def drawn(self) -> int | None:
        """The index of the turn of the current program that was drawn last; None where none of its turns was."""
        since: list[Operation] = []
        version = self.versions[self.at]
        while version.parent is not None and version.operation is not None:
            index = _drawn_by(version)
            for operation in reversed(since):
                index = None if index is None else operation.follow(index)
            if index is not None:
                return index
            since.append(version.operation)
            version = self.versions[version.parent]
        return None

    def run_of(self, program: Program) -> Run | None:
        """What the program did when its text was last run, at whatever version."""
        return self.runs.get(digest(program.source()))

    @property
    def unsaved(self) -> bool:
        """Whether there are turns, and no file holds the text as it is now."""
        return bool(self.program.turns) and (self.saved is None or self.saved.text != self._in_a_file())

    def commit(self, operation: Operation) -> Commit:
        return Commit(self.at, operation)

    def undo(self) -> Point:
        """One version back. Raises UsageError at the start."""
        parent = self.versions[self.at].parent
        if parent is None:
            raise UsageError("nothing to undo")
        return Point(self.branch, parent)

    def redo(self) -> Point:
        """Forward again to what was undone here last. Raises UsageError where there is nothing."""
        if (self.branch, self.at) not in self._forward:
            raise UsageError("nothing to redo")
        return Point(self.branch, self._forward[self.branch, self.at])

    def fork(self, name: str) -> Point:
        """A new branch here. Raises UsageError where there is no name, or it is taken."""
        if not name.strip():
            raise UsageError("a branch needs a name", hint="/branch NAME")
        if name in self.branches:
            raise UsageError(f"there is a branch {name} already", hint=f"/switch {name}")
        return Point(name, self.at)

    def switch(self, name: str) -> Point:
        """To another branch. Raises UsageError where there is none of that name."""
        if name not in self.branches:
            raise UsageError(f"no branch {name}{nearest(name, self.branches)}", hint="/branch lists them")
        return Point(name, self.branches[name])

    def save(self, path: Path) -> Saved:
        """The program as it is now was written to `path`."""
        return Saved(str(path.resolve()), self._in_a_file())

    def _in_a_file(self) -> str:
        """What the text is known by when it is read from a file, whatever line ends it has there."""
        return digest(from_file(encode(self.program.source())))

    def apply(self, event: Event) -> None:
        """Let it have happened. Raises IndexError for an event that cannot have, and nothing has then."""
        match event:
            case Commit(parent, operation):
                if parent != self.at:
                    raise IndexError(f"version {parent} is not the current one, which is {self.at}")
                program = operation.apply(self.program)
                self._keep_undone()
                self.versions.append(Version(parent, operation, program))
                self.branches[self.branch] = len(self.versions) - 1
            case Point(branch, version):
                if not 0 <= version < len(self.versions):
                    raise IndexError(f"no version {version}")
                if branch == self.branch and self.versions[self.at].parent == version:
                    self._forward[branch, version] = self.at
                self.branch = branch
                self.branches[branch] = version
            case Run():
                self.runs[event.text] = event
            case Saved():
                self.saved = event
            case Setting(key, value):
                self.settings[key] = value

    def _keep_undone(self) -> None:
        """Name what was undone here, before something else is built in its place."""
        tip = self._forward.pop((self.branch, self.at), None)
        if tip is None:
            return
        while (self.branch, tip) in self._forward:
            tip = self._forward[self.branch, tip]
        if not any(self._descends(version, tip) for version in self.branches.values()):
            names = (f"undone-{number}" for number in itertools.count(1))
            self.branches[next(name for name in names if name not in self.branches)] = tip

    def _descends(self, version: int, ancestor: int) -> bool:
        at: int | None = version
        while at is not None and at > ancestor:
            at = self.versions[at].parent
        return at == ancestor


def _drawn_by(version: Version) -> int | None:
    """The index of the turn that was drawn to make a version; None where none was."""
    match version.operation:
        case Add(turn) if turn.candidates:
            return len(version.program.turns) - 1
        case Put(index, _, why) if why not in ("pick", "code"):
            return index
    return None
