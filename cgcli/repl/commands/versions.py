"""Commands that move between versions and branches of the program."""

from __future__ import annotations

import difflib
from typing import Literal

from cgcli.core.errors import UsageError
from cgcli.program.history import Add, Version
from cgcli.repl.command import BRANCH, CANDIDATE_OR_FOLD, NEW_NAME, command
from cgcli.repl.commands.turns import drawn_index
from cgcli.repl.state import Repl
from cgcli.terminal.text import plural


@command()
def undo(repl: Repl) -> None:
    """undo a change

    Goes back one version; /redo goes forward again. If you change the program after /undo, the undone versions are
    kept as a branch.
    """
    undone = repl.history.versions[repl.history.at]
    repl.do(repl.history.undo())
    repl.ui.screen.note(f"undone: {_description(undone)}")


@command()
def redo(repl: Repl) -> None:
    """redo a change"""
    repl.do(repl.history.redo())
    repl.ui.screen.note(f"redone: {_description(repl.history.versions[repl.history.at])}")


def _description(version: Version) -> str:
    """The operation that made a version."""
    if not isinstance(version.operation, Add):
        return str(version.operation)
    turns = version.program.turns
    return f"turn {len(turns)}, {(turns[-1].prompt or '').partition(chr(10))[0]}"


@command(CANDIDATE_OR_FOLD.optional)
def diff(repl: Repl, choice: int | Literal["fold"] | None) -> None:
    """show a diff

    Shows what the last operation changed. With I, compares candidate I of the turn that was generated last with the
    accepted one. `/diff fold` shows what the model skips of a program that exceeds the context window.
    """
    screen = repl.ui.screen
    if choice == "fold":
        if repl.last.fold is None:
            raise UsageError("nothing is folded: the model reads the whole program")
        screen.diff(repl.last.fold.diff())
        return
    now = repl.program.source()
    if choice is not None:
        index = drawn_index(repl)
        turn = repl.program.turns[index]
        before, now = now, repl.program.put(index, turn.choose(choice)).source()
    else:
        parent = repl.history.versions[repl.history.at].parent
        before = now if parent is None else repl.history.versions[parent].program.source()
    lines = list(difflib.unified_diff(before.splitlines(), now.splitlines(), "before", "after", lineterm="", n=2))
    if not lines:
        screen.note("no difference")
    screen.diff(lines)


@command(NEW_NAME.optional)
def branch(repl: Repl, name: str | None) -> None:
    """list/add branches

    Creates the branch NAME from the current version and switches to it. Without NAME, lists the branches.
    """
    if name is not None:
        repl.do(repl.history.fork(name))
    for one, version in repl.history.branches.items():
        program = repl.history.versions[version].program
        mark = "*" if one == repl.history.branch else " "
        prompt = program.turns[-1].prompt if program.turns else "empty"
        repl.ui.screen.say(f"{mark} {one}  {plural(len(program.turns), 'turn')}: {' '.join((prompt or '').split())}")


@command(BRANCH)
def switch(repl: Repl, name: str) -> None:
    """switch branches"""
    repl.do(repl.history.switch(name))
    repl.ui.screen.note(f"switched to {name}: {plural(len(repl.program.turns), 'turn')}")
