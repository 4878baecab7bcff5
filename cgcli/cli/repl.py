"""`cgcli repl`: build a program prompt by prompt, on a terminal or from a script."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cgcli.app.run import given_settings
from cgcli.cli.command import run_of, settings_of
from cgcli.cli.options import (
    SAMPLING_PANEL,
    DraftFromOption,
    DraftOption,
    ExactOption,
    FoldOption,
    GpuLayersOption,
    GuardOption,
    MaxTokensOption,
    MinPOption,
    ModelOption,
    ReadOption,
    SeedOption,
    ServeOption,
    TemperatureOption,
    ThreadsOption,
    TopKOption,
    TopPOption,
    UnsafeOption,
    WindowOption,
    WriteOption,
    programs_to_resume,
)


def repl(
    ctx: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE|ID",
            help="The program to open; with --resume, the ID of a session.",
            autocompletion=programs_to_resume,
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the session ID, or the last one.")] = False,
    read: ReadOption = None,
    write: WriteOption = None,
    unsafe: UnsafeOption = False,
    model: ModelOption = None,
    ctx_tokens: WindowOption = None,
    threads: ThreadsOption = None,
    gpu_layers: GpuLayersOption = None,
    draft: DraftOption = None,
    draft_from: DraftFromOption = None,
    exact: ExactOption = None,
    serve: ServeOption = None,
    fold: FoldOption = None,
    candidates: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--candidates",
            metavar="N",
            min=1,
            help="Generate N completions per prompt and pick one.",
            show_default="1",
            rich_help_panel=SAMPLING_PANEL,
        ),
    ] = None,
    temperature: TemperatureOption = None,
    top_p: TopPOption = None,
    top_k: TopKOption = None,
    min_p: MinPOption = None,
    max_tokens: MaxTokensOption = None,
    seed: SeedOption = None,
    guard: GuardOption = None,
) -> int:
    """Build a program prompt by prompt: run it, undo, retry, save.

    [dim]cgcli repl
    cgcli repl prog.py
    cgcli repl --resume
    cgcli repl < prompts.txt > prog.py[/dim]
    """
    from cgcli.app.repl import start_repl

    given = {"candidates": candidates, "unsafe": unsafe, "read": tuple(read or ()), "write": tuple(write or ())}
    own = {name: value for name, value in given.items() if value}
    flags = given_settings(ctx.params).keys() | own.keys()
    return start_repl(
        run_of(ctx),
        settings_of(ctx),
        flags=frozenset(flags),
        file=None if resume else file,
        resume=(str(file) if file else "") if resume else None,
        own=own,
    )
