"""`cgcli eval`: published benchmarks, HumanEval and MTPB, and reports on their runs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cgcli.cli.command import Command, Group, arguments_of, run_of, settings_of
from cgcli.cli.options import (
    SAMPLING_PANEL,
    DraftOption,
    EvalGuardOption,
    ExactOption,
    GpuLayersOption,
    JsonOption,
    MaxTokensOption,
    ModelOption,
    ServeOption,
    TemperatureOption,
    ThreadsOption,
    TopKOption,
    TopPOption,
    UnsafeOption,
    WindowOption,
)

if TYPE_CHECKING:
    from cgcli.evals.report.parts import Section
    from cgcli.terminal.output import Output

_COLUMNS = 88  # of paragraphs
_sampling = partial(typer.Option, rich_help_panel=SAMPLING_PANEL)
_files = partial(typer.Option, rich_help_panel="Files")

ToTheLetterOption = Annotated[
    bool,
    _sampling(
        "--to-the-letter",
        help="Do not end a completion where a comment repeats one character; verdicts stay the same.",
    ),
]
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
    Path | None, _files("--generate", metavar="FILE", help="Only generate samples, into FILE; judge none.")
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
    typer.Option(
        "--ray", metavar="ADDRESS", help="Generate on a Ray cluster: local, auto, HOST:PORT or ray://HOST:PORT."
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", min=1, help="Programs to run in parallel (default: one per CPU)."),
]


def build() -> typer.Typer:
    """The group of commands, to be added to the application."""
    app = typer.Typer(cls=Group, invoke_without_command=True)
    app.callback()(_start)
    app.command("humaneval", cls=Command)(humaneval)
    app.command("mtpb", cls=Command)(mtpb)
    app.command("report", cls=Command)(report)
    return app


def _start(ctx: typer.Context) -> None:
    """Measure how often a model's programs are correct."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


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
    guard: EvalGuardOption = None,
    to_the_letter: ToTheLetterOption = False,
    model: ModelOption = None,
    ctx_tokens: WindowOption = None,
    threads: ThreadsOption = None,
    gpu_layers: GpuLayersOption = None,
    draft: DraftOption = None,
    exact: ExactOption = None,
    serve: ServeOption = None,
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
    guard: EvalGuardOption = None,
    to_the_letter: ToTheLetterOption = False,
    model: ModelOption = None,
    ctx_tokens: WindowOption = None,
    threads: ThreadsOption = None,
    gpu_layers: GpuLayersOption = None,
    draft: DraftOption = None,
    exact: ExactOption = None,
    serve: ServeOption = None,
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


def report(
    ctx: typer.Context,
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Sample files of `cgcli eval`, with their verdicts beside them."),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write an HTML page with plots.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write all numbers as one CSV table.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="FILE", help="MTPB problems, for the categories (default: those already downloaded)."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
) -> None:
    """Compare evaluation runs with each other and with published numbers.

    Shards of one run count as one run. Nothing is judged again, and nothing is downloaded.

    [dim]cgcli eval report runs/*.jsonl
    cgcli eval report runs/*.jsonl -o report.html --csv report.csv[/dim]
    """
    from cgcli.app.evaluation import ReportArguments, report_runs
    from cgcli.terminal.text import plural

    run = run_of(ctx)
    found = report_runs(run, arguments_of(ctx, ReportArguments))
    if json:
        run.output.json(found.as_json())
    elif not output and not csv:
        for section in found.sections():
            _print(run.output, section)
    for path in filter(None, (output, csv)):
        run.output.note(f"{path}: {plural(len(found.runs), 'run')}")


def _print(output: Output, section: Section) -> None:
    """The section as text: what the page shows, without plots."""
    from cgcli.terminal.text import visible, wrapped

    bold = "\x1b[1m{}\x1b[0m" if output.stdout_color else "{}"
    output.styled(bold.format(visible(section.title.upper())))
    for text in section.text:
        for line in wrapped(text, _COLUMNS):
            output.text(line)
    for table in section.tables:
        output.text()
        output.text(table.caption)
        give = "MODEL" if "model" in table.header else ""
        rows = [list(map(visible, row)) for row in table.rows]
        output.table([visible(name.upper()) for name in table.header], rows, clip=give)
    for line in (*section.listed, *section.commands):
        output.text(visible(line))
    output.text()
