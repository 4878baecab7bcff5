"""Options that several commands share: the model, sampling, evaluations."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

MODEL_PANEL = "Model"
SAMPLING_PANEL = "Sampling"
FILES_PANEL = "Files"

_model = partial(typer.Option, rich_help_panel=MODEL_PANEL)
_sampling = partial(typer.Option, rich_help_panel=SAMPLING_PANEL)
_files = partial(typer.Option, rich_help_panel=FILES_PANEL)


def pulled_names(incomplete: str) -> list[str]:
    """Pulled models, for the shell's Tab key."""
    from cgcli.cli.complete import pulled

    return pulled(incomplete)


def language_names(incomplete: str) -> list[str]:
    """Languages, for the shell's Tab key."""
    from cgcli.cli.complete import languages

    return languages(incomplete)


ModelOption = Annotated[
    str | None,
    _model(
        "-m",
        "--model",
        metavar="NAME[:QUANT]|FILE",
        help="Pulled model or GGUF file (default: the best pulled model that fits in memory).",
        autocompletion=pulled_names,
    ),
]
WindowOption = Annotated[
    int | None, _model("--ctx", metavar="N", help="Context window in tokens (default: the model's own).")
]
ThreadsOption = Annotated[
    int | None, _model("--threads", metavar="N", help="CPU threads (default: one per physical core).")
]
GpuLayersOption = Annotated[
    int | None, _model("--gpu-layers", metavar="N", help="Layers on the GPU (default: all that fit).")
]
DraftOption = Annotated[
    str | None,
    _model(
        "--draft",
        metavar="ngram|off|MODEL",
        help="Guess tokens ahead from the text, not at all, or with a smaller model.",
        autocompletion=pulled_names,
    ),
]
ExactOption = Annotated[
    bool | None, _model("--exact", help="Same text for the same seed, whatever else is in the batch (slower).")
]
FoldOption = Annotated[
    Literal["on", "off"] | None,
    _model(
        "--fold",
        metavar="on|off",
        help="Shorten a program that exceeds the context window, for the model only (default: on).",
    ),
]

TemperatureOption = Annotated[
    float | None,
    _sampling("-t", "--temperature", metavar="T", help="Sampling temperature; 0 is greedy (default: 0.2)."),
]
TopPOption = Annotated[
    float | None, _sampling("--top-p", metavar="P", help="Nucleus sampling threshold (default: 0.95).")
]
TopKOption = Annotated[
    int | None,
    _sampling("--top-k", metavar="K", help="Sample from the K most likely tokens (default: 0, off)."),
]
MinPOption = Annotated[
    float | None,
    _sampling(
        "--min-p",
        metavar="P",
        help="Drop tokens below this share of the most likely one (default: 0, off).",
    ),
]
MaxTokensOption = Annotated[
    int | None,
    _sampling("--max-tokens", metavar="N", help="Maximum tokens per completion (default: 256)."),
]
SeedOption = Annotated[int | None, _sampling("--seed", metavar="N", help="Random seed; chosen and printed if omitted.")]

FixedSeedOption = Annotated[int | None, _sampling("--seed", metavar="N", help="Random seed (default: 0).")]
OutputOption = Annotated[
    Path | None,
    _files(
        "-o",
        "--output",
        metavar="FILE",
        help="Sample file, resumed if it exists (default: in cgcli's data folder, one per model).",
    ),
]
GenerateOption = Annotated[
    Path | None, _files("--generate", metavar="FILE", help="Only draw samples, into FILE; judge none.")
]
JudgeOption = Annotated[
    Path | None, _files("--judge", metavar="FILE", help="Only judge the samples in FILE, from cgcli or another tool.")
]
DataOption = Annotated[
    Path | None, _files("--data", metavar="FILE", help="Use these problems instead of the published ones.")
]
LimitOption = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Use only the first N problems.")]
ShardOption = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N", help="Use every N-th problem from the I-th; join the files with cat."),
]
RayOption = Annotated[
    str | None,
    typer.Option("--ray", metavar="ADDRESS", help="Draw on a Ray cluster: local, auto, HOST:PORT or ray://HOST:PORT."),
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", min=1, help="Programs to run in parallel (default: one per CPU)."),
]
UnsafeOption = Annotated[bool, typer.Option("--unsafe", help="Run the programs without a sandbox.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
LanguageOption = Annotated[
    str | None,
    typer.Option(
        "--lang",
        metavar="NAME",
        help="Programming language (default: from the file suffix, else Python).",
        autocompletion=language_names,
    ),
]
