"""The versions of a program: a tree that only grows, and branches that point into it.

An operation is a change of a program: a value that makes a new version from the current one. Everything that happens is
an event. A method makes it, the journal records it, and `History.apply` applies it, both when it happens and when a
journal is read again. Undo, redo and switch move a pointer. Undone work that the user builds over is kept as a branch.

Each operation has `follow`, which returns the index of a turn after the operation, None if the turn is gone.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cgcli.core.config import nearest
from cgcli.core.errors import UsageError
from cgcli.program.program import Program, Turn
from cgcli.program.recorded import file_digest
from cgcli.program.source import digest


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
    """A turn replaced by another."""

    index: int
    turn: Turn
    why: Literal["retry", "pick", "edit", "code", "from", "replay"]  # the user's command

    def apply(self, program: Program) -> Program:
        return program.put(self.index, self.turn)

    def follow(self, index: int) -> int:
        return index

    def __str__(self) -> str:
        return f"/{self.why} in turn {self.index + 1}"


@dataclass(frozen=True)
class Drop:
    """A turn deleted."""

    index: int

    def apply(self, program: Program) -> Program:
        return program.drop(self.index)

    def follow(self, index: int) -> int | None:
        return None if index == self.index else index - (index > self.index)

    def __str__(self) -> str:
        return f"/drop of turn {self.index + 1}"


@dataclass(frozen=True)
class Move:
    """A turn moved."""

    index: int
    to: int  # its index afterwards

    def apply(self, program: Program) -> Program:
        return program.move(self.index, self.to)

    def follow(self, index: int) -> int:
        if index == self.index:
            return self.to
        return index - (index > self.index) + (self.to <= index - (index > self.index))

    def __str__(self) -> str:
        return f"move of turn {self.index + 1} to {self.to + 1}"


@dataclass(frozen=True)
class Fill:
    """Text in place of the characters `begin` to `end` - 1 of the program."""

    begin: int
    end: int
    text: str
    line: int  # as the user named it

    def apply(self, program: Program) -> Program:
        return program.replaced(self.begin, self.end, self.text)

    def follow(self, index: int) -> int:
        return index

    def __str__(self) -> str:
        return f"/fill at line {self.line}"


Operation = Add | Put | Drop | Move | Fill


@dataclass(frozen=True)
class Commit:
    """A new version: an operation on the version `parent`."""

    parent: int
    operation: Operation


@dataclass(frozen=True)
class Point:
    """Branch `branch` becomes the current one and points to `version`."""

    branch: str
    version: int


@dataclass(frozen=True)
class Run:
    """The result of running the program."""

    text: str  # `digest` of the program
    verdict: str  # a few words
    passed: bool
    seconds: float
    output: str = ""  # the end of stdout
    errors: str = ""  # the end of stderr
    arguments: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The result in words for the user. A program that ran may still be wrong."""
        if not self.passed:
            return self.verdict
        return "ran" if self.output.strip() else "ran, printed nothing"


@dataclass(frozen=True)
class Saved:
    """The program was written to a file."""

    path: str  # absolute, links followed
    text: str  # `digest` of the program


@dataclass(frozen=True)
class Setting:
    """A setting of the session, for all versions."""

    key: str
    value: str  # as the user would type it


Event = Commit | Point | Run | Saved | Setting


@dataclass(frozen=True)
class Version:
    """A program, and the version and operation that it comes from; version 0 has neither."""

    parent: int | None
    operation: Operation | None
    program: Program


@dataclass
class History:
    """The versions and branches of a program, and what else happened to it."""

    versions: list[Version]
    branches: dict[str, int] = field(default_factory=lambda: {"main": 0})  # name to version, oldest first
    branch: str = "main"  # the current one
    runs: dict[str, Run] = field(default_factory=dict)  # the last of each text, by its digest
    saved: Saved | None = None  # the last one
    settings: dict[str, str] = field(default_factory=dict)
    _forward: dict[tuple[str, int], int] = field(default_factory=dict)  # (branch, version) to the version of redo

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
        """The index of the current program's turn that was drawn last; None if none was drawn."""
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
        """The last run of this text, at any version."""
        return self.runs.get(digest(program.source()))

    @property
    def unsaved(self) -> bool:
        """Whether the program has turns and its text is in no file."""
        return bool(self.program.turns) and (self.saved is None or self.saved.text != self._digest_in_file())

    def commit(self, operation: Operation) -> Commit:
        return Commit(self.at, operation)

    def undo(self) -> Point:
        """Go one version back. Raises UsageError at the first."""
        parent = self.versions[self.at].parent
        if parent is None:
            raise UsageError("nothing to undo")
        return Point(self.branch, parent)

    def redo(self) -> Point:
        """Go forward to what was undone here last. Raises UsageError if nothing was."""
        if (self.branch, self.at) not in self._forward:
            raise UsageError("nothing to redo")
        return Point(self.branch, self._forward[self.branch, self.at])

    def fork(self, name: str) -> Point:
        """Create a branch here. Raises UsageError if the name is empty or taken."""
        if not name.strip():
            raise UsageError("a branch needs a name", hint="/branch NAME")
        if name in self.branches:
            raise UsageError(f"branch {name} already exists", hint=f"/switch {name}")
        return Point(name, self.at)

    def switch(self, name: str) -> Point:
        """Switch to another branch. Raises UsageError if it does not exist."""
        if name not in self.branches:
            raise UsageError(f"no branch {name}{nearest(name, self.branches)}", hint="/branch lists them")
        return Point(name, self.branches[name])

    def save(self, path: Path) -> Saved:
        """Record that the current program was written to `path`."""
        return Saved(str(path.resolve()), self._digest_in_file())

    def _digest_in_file(self) -> str:
        """The digest of the text when it is read from a file, whatever line ends it has there."""
        return file_digest(self.program.source())

    def apply(self, event: Event) -> None:
        """Apply an event. Raises IndexError, with nothing changed, if it is impossible."""
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
        """Keep what was undone here as a branch, before something else takes its place."""
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
    """The index of the turn that was drawn for a version; None if none was."""
    match version.operation:
        case Add(turn) if turn.candidates:
            return len(version.program.turns) - 1
        case Put(index, _, why) if why not in ("pick", "code"):
            return index
    return None
