"""`cgcli fill`: new code in the middle of a program."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from cgcli.cli.command import arguments_of, run_of, settings_of
from cgcli.cli.options import (
    SAMPLING_PANEL,
    DraftOption,
    ExactOption,
    GpuLayersOption,
    LanguageOption,
    MaxTokensOption,
    MinPOption,
    ModelOption,
    SeedOption,
    ServeOption,
    TemperatureOption,
    ThreadsOption,
    TopKOption,
    TopPOption,
    WindowOption,
)


def fill(
    ctx: typer.Context,
    place: Annotated[
        str,
        typer.Argument(metavar="FILE:LINE", help="Where to write, such as prog.py:12, or prog.py; :12 or - is stdin."),
    ],
    in_place: Annotated[bool, typer.Option("-i", "--in-place", help="Write it into FILE.")] = False,
    whole: Annotated[bool, typer.Option("--whole", help="Print the whole program, not only what is new.")] = False,
    extent: Annotated[
        Literal["line", "block"] | None,
        typer.Option(
            "--extent",
            metavar="line|block",
            help="Write one line, or lines until a block ends (default: as the text around suggests).",
        ),
    ] = None,
    lang: LanguageOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print the candidates and how one was chosen as JSON.")] = False,
    no_log: Annotated[bool, typer.Option("--no-log", help="Leave this run out of `cgcli log`.")] = False,
    model: ModelOption = None,
    ctx_tokens: WindowOption = None,
    threads: ThreadsOption = None,
    gpu_layers: GpuLayersOption = None,
    draft: DraftOption = None,
    exact: ExactOption = None,
    serve: ServeOption = None,
    candidates: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--candidates",
            metavar="N",
            min=1,
            help="Generate N candidates and keep the best (default: 1 if the model was trained to infill, else 8).",
            rich_help_panel=SAMPLING_PANEL,
        ),
    ] = None,
    temperature: TemperatureOption = None,
    top_p: TopPOption = None,
    top_k: TopKOption = None,
    min_p: MinPOption = None,
    max_tokens: MaxTokensOption = None,
    seed: SeedOption = None,
    stops: Annotated[
        list[str] | None,
        typer.Option("--stop", metavar="TEXT", help="End before TEXT. Repeatable.", rich_help_panel=SAMPLING_PANEL),
    ] = None,
) -> None:
    """Write code in the middle of a program.

    At a blank line, it takes the place of that line. It goes below a comment, or a `def` or an `if` without a
    body, and above any other line. Without LINE, it goes to the only comment that has nothing below
    it or begins with three dots. The file is left as it is unless you add -i.

    [dim]cgcli fill prog.py:12
    cgcli fill -i prog.py
    cgcli fill :12 --whole < prog.py[/dim]
    """
    from cgcli.app.fill import FillArguments, fill_hole

    fill_hole(run_of(ctx), settings_of(ctx), arguments_of(ctx, FillArguments))
