"""`cgcli replay`: draw a program again, and compare."""

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
    """Draw a program again as it was drawn, and say whether it is the same.

    What drew it is found by its text in the log, in a session or in its stamp, wherever the file is now. If a turn
    differs, the error names the first thing that is not as it was: the model's file, the version, the processor.
    """
    from cgcli.app.replay import replay as draw_again

    draw_again(run_of(ctx), name)
