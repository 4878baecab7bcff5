"""`cgcli eval mtpb`: draw samples in several turns and in one, judge them in the sandbox, tell the pass rates.

Here only words are read.
"""

from __future__ import annotations

from typing import Annotated

import typer

from cgcli.cli.command import run_of, settings_of
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


def mtpb(
    ctx: typer.Context,
    turns: Annotated[
        str,
        typer.Option(
            "--turns",
            metavar="multi|single|both",
            help="A completion after each prompt, or one after all of them.",
            rich_help_panel=SAMPLING_PANEL,
        ),
    ] = "both",
    n: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--samples",
            metavar="N",
            min=1,
            help="Samples of each input; may be raised later. Default 1; the paper has 40.",
            rich_help_panel=SAMPLING_PANEL,
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
        str,
        typer.Option(
            "--rules",
            metavar="paper|strict",
            help="strict: a program that fails after its last print fails, and no type is cast to another.",
        ),
    ] = "paper",
    limit: LimitOption = None,
    shard: ShardOption = None,
    ray: RayOption = None,
    workers: WorkersOption = None,
    unsafe: UnsafeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Let a model write the programs of the Multi-Turn Programming Benchmark, and run them.

    115 problems, each given as several prompts and tried with five inputs. Samples and verdicts are kept as they come:
    the same command goes on after Ctrl-C, and with a larger -n.

    [dim]cgcli eval mtpb --json
    cgcli eval mtpb --turns multi -n 40 -m codegen-350m-mono
    cgcli eval mtpb --judge samples.jsonl --rules strict[/dim]
    """
    from cgcli.app.mtpb import Wish, evaluate

    run = run_of(ctx)
    settings = settings_of(ctx)
    wish = Wish(
        turns=turns,
        n=n or 1,
        rules=rules,
        output=output,
        generate=generate,
        judge=judge,
        data=data,
        limit=limit,
        shard=shard,
        ray=ray,
        workers=workers,
        unsafe=unsafe,
        json=as_json,
    )
    evaluate(run, settings, wish)
