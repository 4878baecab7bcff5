"""The options that several commands share: the model, sampling, evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

MODEL_PANEL = "The model"


def _models(incomplete: str) -> list[str]:
    from cgcli.cli.complete import pulled

    return pulled(incomplete)


ModelOption = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        metavar="NAME[:QUANT]|FILE",
        help="Which model.",
        autocompletion=_models,
        rich_help_panel=MODEL_PANEL,
    ),
]
WindowOption = Annotated[
    int | None, typer.Option("--ctx", metavar="N", help="Context window in tokens.", rich_help_panel=MODEL_PANEL)
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", metavar="N", help="CPU threads.", rich_help_panel=MODEL_PANEL)
]
GpuLayersOption = Annotated[
    int | None,
    typer.Option(
        "--gpu-layers", metavar="N", help="Layers on the GPU; default: all that fit.", rich_help_panel=MODEL_PANEL
    ),
]
DraftOption = Annotated[
    str | None,
    typer.Option(
        "--draft",
        metavar="ngram|off|MODEL",
        help="Guess tokens ahead: from the text, not at all, or by a smaller model.",
        autocompletion=_models,
        rich_help_panel=MODEL_PANEL,
    ),
]
ExactOption = Annotated[
    bool | None,
    typer.Option(
        "--exact", help="Same seed, same text, whatever is drawn beside it (slower).", rich_help_panel=MODEL_PANEL
    ),
]
FoldOption = Annotated[
    str | None,
    typer.Option(
        "--fold",
        metavar="on|off",
        help="Where a program is too long, let the model read it without comments and bodies; default on.",
        rich_help_panel=MODEL_PANEL,
    ),
]

SAMPLING_PANEL = "Sampling"

TemperatureOption = Annotated[
    float | None,
    typer.Option("-t", "--temperature", metavar="T", help="0 is greedy; default 0.2.", rich_help_panel=SAMPLING_PANEL),
]
TopPOption = Annotated[
    float | None, typer.Option("--top-p", metavar="P", help="Nucleus; default 0.95.", rich_help_panel=SAMPLING_PANEL)
]
TopKOption = Annotated[
    int | None, typer.Option("--top-k", metavar="K", help="0, the default, is off.", rich_help_panel=SAMPLING_PANEL)
]
MinPOption = Annotated[
    float | None, typer.Option("--min-p", metavar="P", help="0, the default, is off.", rich_help_panel=SAMPLING_PANEL)
]
MaxTokensOption = Annotated[
    int | None,
    typer.Option("--max-tokens", metavar="N", help="Of one completion; default 256.", rich_help_panel=SAMPLING_PANEL),
]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", help="Fixes the draws; else drawn and shown.", rich_help_panel=SAMPLING_PANEL),
]

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
