"""`cgcli watch`: write into files what their marked comments ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cgcli.cli.command import arguments_of, run_of, settings_of
from cgcli.cli.options import (
    DraftOption,
    FoldOption,
    GpuLayersOption,
    GuardOption,
    MaxTokensOption,
    ModelOption,
    ReadOption,
    SeedOption,
    ServeOption,
    TemperatureOption,
    ThreadsOption,
    UnsafeOption,
    WindowOption,
    WriteOption,
)


def watch(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Programs to watch.", show_default=False)],
    read: ReadOption = None,
    write: WriteOption = None,
    unsafe: UnsafeOption = False,
    no_log: Annotated[bool, typer.Option("--no-log", help="Leave these turns out of `cgcli log`.")] = False,
    model: ModelOption = None,
    ctx_tokens: WindowOption = None,
    threads: ThreadsOption = None,
    gpu_layers: GpuLayersOption = None,
    draft: DraftOption = None,
    serve: ServeOption = None,
    fold: FoldOption = None,
    temperature: TemperatureOption = None,
    max_tokens: MaxTokensOption = None,
    seed: SeedOption = None,
    guard: GuardOption = None,
) -> None:
    """Write code into files that are open in an editor, when they are saved.

    End a comment with ` !` and save: the code appears below it, and the mark goes. Mark a comment again, reworded or
    not, and its code is written again. A line `# ?` runs the program in the sandbox; its output appears there as
    comments. Ctrl-C stops the writing; a second one quits.

    [dim]cgcli watch prog.py[/dim]
    """
    from cgcli.app.watch import WatchArguments, watch_files

    watch_files(run_of(ctx), settings_of(ctx), arguments_of(ctx, WatchArguments))
