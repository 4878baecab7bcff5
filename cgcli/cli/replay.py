"""`cgcli replay`: write a program again, and compare."""

from __future__ import annotations

from typing import Annotated

import typer

from cgcli.cli.command import run_of


def replay(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="FILE|N", help="A program that gen or the REPL wrote, or the number of a run.")
    ],
) -> None:
    """Write a program again, and say whether it is the same.

    cgcli finds its record by its text, in the log, in a session or in its stamp, wherever the file is now. If a turn
    differs, the error names the first thing that is not as it was: the model's file, the version, the processor.
    """
    from cgcli.app.replay import replay as write_again

    write_again(run_of(ctx), name)
