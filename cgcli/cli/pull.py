"""`cgcli pull`: get a model onto this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from cgcli.cli.complete import catalogued
from cgcli.cli.context import Run


def pull(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="NAME[:QUANT] of `cgcli models`, or hf:OWNER/REPO[:QUANT], or hf:OWNER/REPO/FILE.gguf.",
            autocompletion=catalogued,
        ),
    ],
    keep: Annotated[bool, typer.Option("--keep", help="Keep the original checkpoint, too.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Go on though disk or memory look too small.")] = False,
) -> None:
    """Download a model, convert and quantize it. A pull that was cut off goes on where it was."""
