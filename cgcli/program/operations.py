"""What can be done to a program: each operation is a value that makes of one program the next.

A journal keeps operations, not programs; `Operation.apply` is all that is needed to have the programs again.
`Operation.follow` says at which index a turn is afterwards, None where it is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cgcli.program.program import Program
from cgcli.program.turn import Turn


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
