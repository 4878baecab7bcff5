"""`cgcli eval humaneval`: pass@k on HumanEval."""

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

_sampling = partial(typer.Option, rich_help_panel=SAMPLING_PANEL)


def humaneval(
    ctx: typer.Context,
    preset: Annotated[
        Literal["paper", "greedy"] | None,
        _sampling(
            "--preset",
            metavar="paper|greedy",
            help="paper: 200 samples each at temperature 0.2, 0.6 and 0.8; greedy: one at 0.",
        ),
    ] = None,
    n: Annotated[
        int | None,
        _sampling(
            "-n", "--samples", metavar="N", min=1, help="Samples per task (default: 1). Raise it later to add more."
        ),
    ] = None,
    temperatures: Annotated[
        list[float] | None,
        _sampling(
            "-t",
            "--temperature",
            metavar="T",
            min=0,
            help="Sampling temperature; 0 is greedy (default: 0.2). Repeatable: reports the best one for each k.",
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
    json: JsonOption = False,
) -> None:
    """Measure pass@k on HumanEval: complete its 164 functions and run the results in the sandbox.

    Samples and verdicts are stored as they arrive. Run the same command again to resume, or with a larger -n to add
    samples.

    --preset paper samples as the paper describes, without top-k. Salesforce's published code inherited top-k 50 from
    transformers; add --top-k 50 to match it.

    [dim]cgcli eval humaneval -n 5 --json
    cgcli eval humaneval --preset paper -m codegen-350m-mono
    cgcli eval humaneval --judge samples.jsonl[/dim]
    """
    from cgcli.app.humaneval import HumanEvalArguments, evaluate_humaneval

    evaluate_humaneval(run_of(ctx), settings_of(ctx), arguments_of(ctx, HumanEvalArguments))
