"""Commands that begin another program."""

from __future__ import annotations

from pathlib import Path

from cgcli.core.errors import UsageError
from cgcli.core.reading import read_if_present
from cgcli.program.source import digest, from_file
from cgcli.repl.arguments import FILE
from cgcli.repl.command import command
from cgcli.repl.commands.files import shown
from cgcli.repl.show import size
from cgcli.repl.state import Repl


@command(FILE)
def open_(repl: Repl, path: Path) -> None:
    """another program

    Goes on with the program of FILE as it was left, or takes FILE as the beginning of a new one. A FILE that is not
    there yet is where /save will put it.
    """
    known = repl.known_file
    if known and known.path == str(path.resolve()) and known.text == digest(from_file(read_if_present(path))):
        raise UsageError(f"{shown(repl, path)} is open already")
    repl.open(path)
    repl.screen.note(f"{shown(repl, path)}: {size(repl.program)}")


@command()
def clear(repl: Repl) -> None:
    """a new program

    Begins a new program. The one that is left stays in `cgcli sessions`.
    """
    former = repl.journal.id if repl.history.at else None
    repl.clear()
    repl.screen.note("a new program" + (f"; back to the other: cgcli repl --resume {former}" if former else ""))
