"""Commands that only show, and the one that leaves."""

from __future__ import annotations

import textwrap
from typing import Literal

from cgcli.repl import show as shows
from cgcli.repl.arguments import NAME, TURN_OR_ALL
from cgcli.repl.command import COMMANDS, Command, command
from cgcli.repl.state import Repl

_CELL = 40  # columns; two of them are the narrowest terminal that counts
_USAGE = 21
_READABLE = 90


@command(NAME.optional)
def help_(repl: Repl, wanted: Command | None) -> None:
    """this, or one

    Lists the commands, or explains one.
    """
    if wanted is not None:
        repl.screen.say(wanted.usage, "bold")
        text = wanted.help.partition("\n")[2].strip() or wanted.summary
        repl.screen.say("\n".join(textwrap.wrap(text, min(repl.screen.width, _READABLE))))
        return
    cells = [f"{usage:<{_USAGE}} {summary}" for one in COMMANDS.values() for usage, summary in one.lines]
    half = -(-len(cells) // 2)
    for left, right in zip(cells[:half], [*cells[half:], ""], strict=False):
        repl.screen.say(f"{left:<{_CELL}}{right}".rstrip())
    repl.screen.note("All else is a prompt; //x is the prompt /x; Ctrl-C stops, Ctrl-D leaves.")


@command(TURN_OR_ALL.optional)
def show(repl: Repl, what: int | Literal["all"] | None) -> None:
    """turns, N, or all

    Lists the turns; with N shows turn N, its candidates and how it came; with all, the program with numbered lines.
    """
    if what == "all":
        repl.screen.code(repl.program.source(), first=1)
    elif what is None:
        shows.turns(repl)
    else:
        shows.turn(repl, what)


@command()
def quit_(repl: Repl) -> None:
    """leave; it is kept

    Leaves. The program is kept; `cgcli repl --resume` goes on with it, and /save writes it to a file.
    """
    repl.ended = True
