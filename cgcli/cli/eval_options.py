"""The options that evaluations share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cgcli.cli.sampling import SAMPLING_PANEL

_FILES = "Files"

FixedSeedOption = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", help="Fixes the draws; default 0.", rich_help_panel=SAMPLING_PANEL),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="Where the samples are kept, and found again. Default: in cgcli's data, by model.",
        rich_help_panel=_FILES,
    ),
]
GenerateOption = Annotated[
    Path | None,
    typer.Option("--generate", metavar="FILE", help="Draw samples into FILE only.", rich_help_panel=_FILES),
]
JudgeOption = Annotated[
    Path | None,
    typer.Option("--judge", metavar="FILE", help="Judge FILE's samples only; any tool's.", rich_help_panel=_FILES),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="FILE", help="The problems, rather than those published.", rich_help_panel=_FILES),
]
LimitOption = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="The first N problems only.")]
ShardOption = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N", help="Every N-th problem, from the I-th; join the parts' files with cat."),
]
RayOption = Annotated[
    str | None,
    typer.Option("--ray", metavar="ADDRESS", help="Draw on a Ray cluster: local, auto, HOST:PORT or ray://HOST:PORT."),
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", min=1, help="Programs run at once; default: one a processor."),
]
UnsafeOption = Annotated[
    bool, typer.Option("--unsafe", help="Run the samples on this machine as it is, without a sandbox.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the totals as JSON.")]
