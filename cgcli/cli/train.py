"""`cgcli train`: train a model, estimate its memory and time, or plot a run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cgcli.cli.command import arguments_of, run_of
from cgcli.cli.options import JsonOption

_start = partial(typer.Option, rich_help_panel="What to train")
_result = partial(typer.Option, rich_help_panel="Result")
_several = partial(typer.Option, rich_help_panel="Several machines")


def train(
    ctx: typer.Context,
    recipe: Annotated[
        str | None,
        typer.Argument(metavar="[RECIPE]", help="TOML file, or nano, which comes with cgcli. Not needed with --init."),
    ] = None,
    init: Annotated[
        str | None,
        _start(
            "--init",
            metavar="NAME|DIR",
            help="Start from these weights: codegen-nano, a model pulled with --keep, or a checkpoint folder.",
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        _start(
            "--data",
            metavar="PATH",
            help="Train on this folder, archive, file or JSON lines instead of the recipe's data. Repeatable.",
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        _start("--tokenizer", metavar="DIR", help="Folder of tokenizer files (default: the recipe's, or --init's)."),
    ] = None,
    steps: Annotated[int | None, _start("--steps", metavar="N", min=1, help="Total number of optimizer steps.")] = None,
    lora: Annotated[
        int | None,
        _start(
            "--lora",
            metavar="RANK",
            min=1,
            help="Train LoRA adapters of this rank and merge them at the end (default: if memory requires it).",
        ),
    ] = None,
    full: Annotated[bool, _start("--full", help="Train all weights, even if memory looks too small.")] = False,
    seed: Annotated[
        int | None,
        _start("--seed", metavar="N", min=0, help="Random seed for the initial weights and the order of the data."),
    ] = None,
    output: Annotated[
        Path | None,
        _result(
            "-o",
            "--output",
            metavar="OUT",
            help="Folder of the run, resumed if it exists (default: in cgcli's data folder, named after the recipe).",
        ),
    ] = None,
    export: Annotated[
        str | None, _result("--export", metavar="NAME", help="Convert the result and add it to your models as NAME.")
    ] = None,
    quant: Annotated[str, _result("--quant", metavar="QUANT", help="Quantize the exported model to this.")] = "q8_0",
    coordinator: Annotated[str, _several("--coordinator", metavar="HOST:PORT", help="Address of process 0.")] = "",
    processes: Annotated[int, _several("--processes", metavar="N", min=1, help="Number of processes.")] = 1,
    process: Annotated[int, _several("--process", metavar="I", min=0, help="Index of this process, from 0.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the memory and time that training would take, then exit.")
    ] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Trace steps 3 to 5 into OUT/profile.")] = False,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Plot the curves of the run into an HTML page, then exit."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Train a CodeGen model, or fine-tune one on your own code.

    After Ctrl-C or a crash, run the same command again to resume; `cgcli train -o OUT` is enough.
    Needs JAX: pip install --find-links dist 'cgcli\\[train]'.

    [dim]cgcli train --init codegen-350m-mono --data ./src --export mine
    cgcli train nano -o nano --dry-run
    cgcli train -o nano --export codegen-nano[/dim]
    """
    from cgcli.app.train import TrainArguments, run_training

    run_training(run_of(ctx), arguments_of(ctx, TrainArguments))
