"""`cgcli eval mtpb`: draw samples in several turns and in one, judge them in the sandbox, tell the pass rates.

Here only words are read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cgcli.cli.context import Run
from cgcli.cli.engine import DraftOption, ExactOption, GpuLayersOption, ModelOption, ThreadsOption, WindowOption
from cgcli.cli.sampling import SAMPLING_PANEL, TemperatureOption, TopPOption

_FILES = "Files"


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
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="N", help="Fixes the draws; default 0.", rich_help_panel=SAMPLING_PANEL),
    ] = None,
    model: ModelOption = None,
    ctx_tokens: WindowOption = None,
    threads: ThreadsOption = None,
    gpu_layers: GpuLayersOption = None,
    draft: DraftOption = None,
    exact: ExactOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Where the samples are kept, and found again. Default: in cgcli's data, by model.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    generate: Annotated[
        Path | None,
        typer.Option("--generate", metavar="FILE", help="Draw samples into FILE only.", rich_help_panel=_FILES),
    ] = None,
    judge: Annotated[
        Path | None,
        typer.Option(
            "--judge",
            metavar="FILE",
            help="Judge FILE's samples only; the paper's sampler's, too.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="FILE", help="The problems, rather than those published.", rich_help_panel=_FILES
        ),
    ] = None,
    rules: Annotated[
        str,
        typer.Option(
            "--rules",
            metavar="paper|strict",
            help="strict: a program that fails after its last print fails, and no type is cast to another.",
        ),
    ] = "paper",
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="The first N problems only.")] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", min=1, help="Programs run at once; default: one a processor."),
    ] = None,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Run the samples on this machine as it is, without a sandbox.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print totals and analyses as JSON.")] = False,
) -> None:
    """Let a model write the programs of the Multi-Turn Programming Benchmark, and run them.

    115 problems, each given as several prompts and tried with five inputs. Samples and verdicts are kept as they come:
    the same command goes on after Ctrl-C, and with a larger -n.

    [dim]cgcli eval mtpb --json
    cgcli eval mtpb --turns multi -n 40 -m codegen-350m-mono
    cgcli eval mtpb --judge samples.jsonl --rules strict[/dim]
    """
    from cgcli.cli.evaluate_mtpb import Wish, evaluate

    run = Run.of(ctx)
    settings = run.settings(
        model=model,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        ctx=ctx_tokens,
        threads=threads,
        gpu_layers=gpu_layers,
        draft=draft,
        exact=exact,
    )
    wish = Wish(
        turns=turns,
        n=n or 1,
        rules=rules,
        output=output,
        generate=generate,
        judge=judge,
        data=data,
        limit=limit,
        workers=workers,
        unsafe=unsafe,
        json=as_json,
    )
    evaluate(run, settings, wish)
