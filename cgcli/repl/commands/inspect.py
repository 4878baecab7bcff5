"""Commands that only show something, and `/quit`."""

from __future__ import annotations

import textwrap
from typing import Literal

from cgcli.repl.command import COMMANDS, NAME, TURN_OR_ALL, ReplCommand, command
from cgcli.repl.state import Repl
from cgcli.repl.views import show_turn, show_turns

_CELL = 40  # columns; two of them fit into the narrowest terminal that counts
_USAGE = 21
_READABLE = 90


@command(NAME.optional)
def help_(repl: Repl, wanted: ReplCommand | None) -> None:
    """show help

    Lists the commands, or explains one.
    """
    screen = repl.ui.screen
    if wanted is not None:
        screen.say(wanted.usage, "bold")
        text = wanted.help.partition("\n")[2].strip() or wanted.summary
        screen.say("\n".join(textwrap.wrap(text, min(screen.width, _READABLE))))
        return
    cells = [f"{usage:<{_USAGE}} {summary}" for one in COMMANDS.values() for usage, summary in one.lines]
    half = -(-len(cells) // 2)
    for left, right in zip(cells[:half], [*cells[half:], ""], strict=False):
        screen.say(f"{left:<{_CELL}}{right}".rstrip())
    screen.note("Anything else is a prompt; //x is the prompt /x. Ctrl-C stops, Ctrl-D quits.")


@command(TURN_OR_ALL.optional)
def show(repl: Repl, what: int | Literal["all"] | None) -> None:
    """list turns

    Lists the turns. With N, shows turn N, its candidates and how it was drawn. `/show all` shows the program with line
    numbers.
    """
    if what == "all":
        repl.ui.screen.code(repl.program.source(), first=1)
    elif what is None:
        show_turns(repl)
    else:
        show_turn(repl, what)


@command()
def quit_(repl: Repl) -> None:
    """leave the REPL

    Leaves the REPL. The session is kept: `cgcli repl --resume` continues it, and /save writes the program to a file.
    """
    repl.ended = True
