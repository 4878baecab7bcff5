"""`cgcli eval mtpb`: the pass rate on the Multi-Turn Programming Benchmark."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import typer

from cgcli.cli.command import arguments_of, run_of, settings_of
from cgcli.cli.options import (
    SAMPLING_PANEL,
    DataOption,
    DraftOption,
    ExactOption,
    FixedSeedOption,
    GenerateOption,
    GpuLayersOption,
    JsonOption,
    JudgeOption,
    LimitOption,
    ModelOption,
    OutputOption,
    RayOption,
    ShardOption,
    TemperatureOption,
    ThreadsOption,
    TopKOption,
    TopPOption,
    UnsafeOption,
    WindowOption,
    WorkersOption,
)

_sampling = partial(typer.Option, rich_help_panel=SAMPLING_PANEL)


def mtpb(
    ctx: typer.Context,
    turns: Annotated[
        Literal["multi", "single", "both"],
        _sampling(
            "--turns",
            metavar="multi|single|both",
            help="Complete after every prompt, once after all prompts, or measure both.",
        ),
    ] = "both",
    n: Annotated[
        int | None,
        _sampling(
            "-n",
            "--samples",
            metavar="N",
            min=1,
            help="Samples per input (default: 1; the paper used 40). Raise it later to add more.",
        ),
    ] = None,
    temperature: TemperatureOption = None,
    top_p: TopPOption = None,
    top_k: TopKOption = None,
    seed: FixedSeedOption = None,
    model: ModelOption = None,
    ctx_tokens: WindowOption = None,
    threads: ThreadsOption = None,
    gpu_layers: GpuLayersOption = None,
    draft: DraftOption = None,
    exact: ExactOption = None,
    output: OutputOption = None,
    generate: GenerateOption = None,
    judge: JudgeOption = None,
    data: DataOption = None,
    rules: Annotated[
        Literal["paper", "strict"],
        typer.Option(
            "--rules",
            metavar="paper|strict",
            help="strict: the program must also run to its end, and values of another type are wrong.",
        ),
    ] = "paper",
    limit: LimitOption = None,
    shard: ShardOption = None,
    ray: RayOption = None,
    workers: WorkersOption = None,
    unsafe: UnsafeOption = False,
    json: JsonOption = False,
) -> None:
    """Measure the pass rate on the Multi-Turn Programming Benchmark.

    115 problems, each a sequence of prompts with five inputs. Samples and verdicts are stored as they arrive. Run the
    same command again to resume, or with a larger -n to add samples.

    [dim]cgcli eval mtpb --json
    cgcli eval mtpb --turns multi -n 40 -m codegen-350m-mono
    cgcli eval mtpb --judge samples.jsonl --rules strict[/dim]
    """
    from cgcli.app.mtpb import MTPBArguments, evaluate_mtpb

    evaluate_mtpb(run_of(ctx), settings_of(ctx), arguments_of(ctx, MTPBArguments))
