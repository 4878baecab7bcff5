"""Commands that go back and forth between versions of the program."""

from __future__ import annotations

import difflib
from typing import Literal

from cgcli.core.errors import UsageError
from cgcli.core.units import plural
from cgcli.program.history import Add, Version
from cgcli.repl.arguments import BRANCH, CANDIDATE_OR_FOLD, NEW_NAME
from cgcli.repl.command import command
from cgcli.repl.commands.turns import drawn
from cgcli.repl.state import Repl


@command()
def undo(repl: Repl) -> None:
    """take it back

    Goes one version back; nothing is lost, /redo goes forward again. What you build instead does not overwrite what was
    undone: that stays under a branch of its own.
    """
    undone = repl.history.versions[repl.history.at]
    repl.do(repl.history.undo())
    repl.screen.note(f"undone: {_said(undone)}")


@command()
def redo(repl: Repl) -> None:
    """do it again"""
    repl.do(repl.history.redo())
    repl.screen.note(f"done again: {_said(repl.history.versions[repl.history.at])}")


def _said(version: Version) -> str:
    """The operation that made a version."""
    if not isinstance(version.operation, Add):
        return str(version.operation)
    turns = version.program.turns
    return f"turn {len(turns)}, {(turns[-1].prompt or '').partition(chr(10))[0]}"


@command(CANDIDATE_OR_FOLD.optional)
def diff(repl: Repl, choice: int | Literal["fold"] | None) -> None:
    """what has changed

    Shows what the last operation changed; with I, how candidate I of the turn that was drawn last differs from the one
    that stands; with fold, what the model was not given of a program that is too long for it.
    """
    if choice == "fold":
        if repl.fold is None:
            raise UsageError("nothing is folded: the model was given the whole program")
        repl.screen.diff(repl.fold.diff())
        return
    now = repl.program.source()
    if choice is not None:
        index = drawn(repl)
        turn = repl.program.turns[index]
        before, now = now, repl.program.put(index, turn.choose(choice)).source()
    else:
        parent = repl.history.versions[repl.history.at].parent
        before = now if parent is None else repl.history.versions[parent].program.source()
    lines = list(difflib.unified_diff(before.splitlines(), now.splitlines(), "before", "after", lineterm="", n=2))
    if not lines:
        repl.screen.note("no difference")
    repl.screen.diff(lines)


@command(NEW_NAME.optional)
def branch(repl: Repl, name: str | None) -> None:
    """list, or begin

    Makes a branch NAME of the program as it is and goes on there; without NAME it lists the branches.
    """
    if name is not None:
        repl.do(repl.history.fork(name))
    for one, version in repl.history.branches.items():
        program = repl.history.versions[version].program
        mark = "*" if one == repl.history.branch else " "
        prompt = program.turns[-1].prompt if program.turns else "empty"
        repl.screen.say(f"{mark} {one}  {plural(len(program.turns), 'turn')}: {' '.join((prompt or '').split())}")


@command(BRANCH)
def switch(repl: Repl, name: str) -> None:
    """to another branch"""
    repl.do(repl.history.switch(name))
    repl.screen.note(f"on {name}, with {plural(len(repl.program.turns), 'turn')}")
