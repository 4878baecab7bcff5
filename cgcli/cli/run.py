"""`cgcli run`: run a program in the sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cgcli.cli.command import arguments_of, run_of

CONTEXT = {"allow_interspersed_args": False}  # options behind the file are the program's


def run(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Python program; - reads it from stdin.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[ARGS]", help="Arguments for the program, including options.")
    ] = None,
    read: Annotated[
        list[Path] | None, typer.Option("--read", metavar="PATH", help="Let it read a file or folder; repeatable.")
    ] = None,
    write: Annotated[
        list[Path] | None,
        typer.Option("--write", metavar="PATH", help="Let it change a file or folder; repeatable."),
    ] = None,
    allow_net: Annotated[bool, typer.Option("--allow-net", help="Let it use the network.")] = False,
    time: Annotated[
        str | None,
        typer.Option(
            "--time",
            metavar="TIME",
            show_default="20s",
            help="Processor time limit, such as 20s or 2m; elapsed time may be five times that.",
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option("--memory", metavar="SIZE", show_default="2GiB", help="Memory limit, such as 512MB or 2GB."),
    ] = None,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Run it without a sandbox.")] = False,
) -> None:
    """Run a program in a sandbox: no network, no access to your files, limits on time and memory.

    Put options before FILE; everything after FILE goes to the program.
    The program sees a relative PATH under the same relative name.
    Output is limited to 16 MB.

    [dim]cgcli run prog.py
    cgcli run --read data.csv prog.py data.csv[/dim]
    """
    from cgcli.app.execute import RunArguments, run_file

    run_file(run_of(ctx).output, arguments_of(ctx, RunArguments))
