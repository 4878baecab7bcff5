"""`cgcli train`. Only words are turned into values here; `training` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cgcli.cli.command import run_of

_START = "What to train"
_OUTPUT = "What comes out"
_SEVERAL = "Several machines"


def train(
    ctx: typer.Context,
    recipe: Annotated[
        str | None,
        typer.Argument(metavar="[RECIPE]", help="A TOML file, or one of cgcli's own: nano. Without one: --init."),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            "--init",
            metavar="NAME|DIR",
            help="Start from these weights: codegen-nano, a model pulled with --keep, or a checkpoint's folder.",
            rich_help_panel=_START,
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            metavar="PATH",
            help="Train on this folder, archive, file or JSON lines, not on the recipe's. Repeatable.",
            rich_help_panel=_START,
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            "--tokenizer",
            metavar="DIR",
            help="A folder of tokenizer files; default: the recipe's, or that of --init.",
            rich_help_panel=_START,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", metavar="N", min=1, help="Steps of the optimizer, in all.", rich_help_panel=_START),
    ] = None,
    lora: Annotated[
        int | None,
        typer.Option(
            "--lora",
            metavar="RANK",
            min=1,
            help="Train adapters of this rank, merged at the end; default where memory asks for it.",
            rich_help_panel=_START,
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Train all weights.", rich_help_panel=_START)] = False,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", metavar="N", min=0, help="Of initial weights and order of data.", rich_help_panel=_START
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="The run's folder, and where it goes on. Default: in cgcli's data, by the recipe's name.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    export: Annotated[
        str | None,
        typer.Option(
            "--export", metavar="NAME", help="Convert it, too, and add it to the models.", rich_help_panel=_OUTPUT
        ),
    ] = None,
    quant: Annotated[
        str,
        typer.Option("--quant", metavar="QUANT", help="What --export quantizes to.", rich_help_panel=_OUTPUT),
    ] = "q8_0",
    coordinator: Annotated[
        str | None,
        typer.Option("--coordinator", metavar="HOST:PORT", help="Of the first process.", rich_help_panel=_SEVERAL),
    ] = None,
    processes: Annotated[
        int, typer.Option("--processes", metavar="N", min=1, help="How many there are.", rich_help_panel=_SEVERAL)
    ] = 1,
    process: Annotated[
        int, typer.Option("--process", metavar="I", min=0, help="Which one this is, from 0.", rich_help_panel=_SEVERAL)
    ] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what it would take: memory and time. Train nothing.")
    ] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Trace steps 3 to 5 into OUT/profile.")] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Write a page with the curves of the run, wherever it stands. Train nothing.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what came out as JSON.")] = False,
) -> None:
    """Train a CodeGen model, or fine-tune one on your own code.

    The same command goes on where it was, after Ctrl-C and after a crash; `cgcli train -o OUT` is enough.
    Needs JAX: pip install 'cgcli\\[train]'.

    [dim]cgcli train --init codegen-350m-mono --data ./src --export mine
    cgcli train nano -o nano --dry-run
    cgcli train -o nano --export codegen-nano[/dim]
    """
    from cgcli.app.train import Wish, run_training

    wish = Wish(
        recipe=recipe,
        init=init,
        data=tuple(data or ()),
        tokenizer=tokenizer,
        steps=steps,
        lora=lora,
        full=full,
        seed=seed,
        output=output,
        export=export,
        quant=quant.lower(),
        coordinator=coordinator or "",
        processes=processes,
        process=process,
        dry_run=dry_run,
        profile=profile,
        report=report,
        json=as_json,
    )
    run_training(run_of(ctx), wish)
