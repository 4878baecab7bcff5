"""`cgcli eval humaneval`. Only words are turned into values here; `evaluate_humaneval` does the work."""

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
    MaxTokensOption,
    ModelOption,
    OutputOption,
    RayOption,
    ShardOption,
    ThreadsOption,
    TopKOption,
    TopPOption,
    UnsafeOption,
    WindowOption,
    WorkersOption,
)


def humaneval(
    ctx: typer.Context,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="paper|greedy",
            help="paper: 200 samples at each of 0.2, 0.6, 0.8; greedy: one.",
            rich_help_panel=SAMPLING_PANEL,
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--samples",
            metavar="N",
            min=1,
            help="Samples of each task; may be raised later. Default 1.",
            rich_help_panel=SAMPLING_PANEL,
        ),
    ] = None,
    temperatures: Annotated[
        list[float] | None,
        typer.Option(
            "-t",
            "--temperature",
            metavar="T",
            min=0,
            help="Repeatable: the best for each k counts. 0 is greedy; default 0.2.",
            rich_help_panel=SAMPLING_PANEL,
        ),
    ] = None,
    top_p: TopPOption = None,
    top_k: TopKOption = None,
    max_tokens: MaxTokensOption = None,
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
    limit: LimitOption = None,
    shard: ShardOption = None,
    ray: RayOption = None,
    workers: WorkersOption = None,
    unsafe: UnsafeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Let a model complete HumanEval's 164 functions, and run what it wrote.

    Samples and verdicts are kept as they come: the same command goes on after Ctrl-C, and with a larger -n.

    --preset paper samples as the paper says, without top-k. Salesforce's published sampler had one of 50 all
    the same, transformers' default: add --top-k 50 to sample like it.

    [dim]cgcli eval humaneval -n 5 --json
    cgcli eval humaneval --preset paper -m codegen-350m-mono
    cgcli eval humaneval --judge samples.jsonl[/dim]
    """
    from cgcli.app.humaneval import Wish, evaluate

    run = run_of(ctx)
    settings = settings_of(ctx)
    wish = Wish(
        preset=preset,
        n=n,
        temperatures=tuple(temperatures or ()),
        top_p=top_p,
        top_k=top_k,
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
