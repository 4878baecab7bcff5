"""`cgcli serve`: keep a model ready, for other commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cgcli.app.run import Run
from cgcli.cli.command import arguments_of, run_of, settings_of
from cgcli.cli.options import DraftOption, ExactOption, GpuLayersOption, ModelOption, ThreadsOption, WindowOption
from cgcli.core.errors import CgcliError, ExitStatus

_NONE = "no server is running"


def serve(
    ctx: typer.Context,
    idle: Annotated[
        str | None, typer.Option("--idle", metavar="TIME", help="End after TIME without a client, such as 10m.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", metavar="N", min=0, help="Answer HTTP on this port, too (0: any).")
    ] = None,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Address for --port; others than this machine need a key.")
    ] = "127.0.0.1",
    api_key_file: Annotated[
        Path | None,
        typer.Option("--api-key-file", metavar="FILE", help="Keys that HTTP requests must have, one per line."),
    ] = None,
    cache_mb: Annotated[
        int | None,
        typer.Option(
            "--cache-mb",
            metavar="N",
            min=0,
            help="Memory in MB for programs it has read (default: 1024).",
        ),
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Show the servers that run.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop all servers.")] = False,
    json: Annotated[bool, typer.Option("--json", help="With --status, print JSON.")] = False,
    model: ModelOption = None,
    ctx_tokens: WindowOption = None,
    threads: ThreadsOption = None,
    gpu_layers: GpuLayersOption = None,
    draft: DraftOption = None,
    exact: ExactOption = None,
) -> None:
    """Keep a model loaded, so that other commands start at once.

    gen, fill, watch, score, repl and eval use a server by themselves if it has their model and settings.
    It also remembers the programs that it has read.

    [dim]cgcli serve -m codegen-350m-mono --idle 1h &
    cgcli serve --status[/dim]
    """
    from cgcli.app.serve import ServeArguments, server_statuses, stop_servers
    from cgcli.app.serve import serve as run_server

    run, arguments = run_of(ctx), arguments_of(ctx, ServeArguments)
    arguments.check()
    if stop:
        stopped, silent = stop_servers(run)
        if stopped or not silent:
            run.output.note(f"stopped {stopped} server{'s' * (stopped != 1)}" if stopped else _NONE)
        _tell(run, silent)
    elif status:
        found, silent = server_statuses(run)
        rows = [
            (
                one["model"],
                one["quant"],
                str(one["pid"]),
                f"{one['up_s']:.0f} s",
                str(one["clients"]),
                str(one["requests"]),
                str(one["port"] or ""),
            )
            for one in found
        ]
        if json:
            run.output.json(found)
        elif found:
            run.output.table(("MODEL", "QUANT", "PID", "UP", "CLIENTS", "REQUESTS", "PORT"), rows)
        elif not silent:
            run.output.note(_NONE)
        _tell(run, silent)
    else:
        run_server(run, settings_of(ctx), arguments)


def _tell(run: Run, errors: list[CgcliError]) -> None:
    """Print the errors; if there are any, the command has failed."""
    for error in errors:
        run.output.error(error)
    if errors:
        raise typer.Exit(ExitStatus.FAILED)
