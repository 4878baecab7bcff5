"""`cgcli eval`: published benchmarks. `humaneval` and `mtpb` have a file each; `report` is here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cgcli.cli.command import Command, Group, run_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cgcli.app.run import Run
    from cgcli.evals.mtpb import Problem
    from cgcli.evals.report.parts import Section
    from cgcli.terminal.output import Output

_COLUMNS = 88  # of paragraphs


def build() -> typer.Typer:
    """The group of commands, to be added to the application."""
    from cgcli.cli import eval_humaneval, eval_mtpb

    app = typer.Typer(cls=Group, invoke_without_command=True)
    app.callback()(_start)
    app.command("humaneval", cls=Command)(eval_humaneval.humaneval)
    app.command("mtpb", cls=Command)(eval_mtpb.mtpb)
    app.command("report", cls=Command)(report)
    return app


def _start(ctx: typer.Context) -> None:
    """Measure how often a model's programs are correct."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


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
    to_json: Annotated[bool, typer.Option("--json", help="Print all numbers as JSON.")] = False,
) -> None:
    """Compare evaluation runs with each other and with published numbers.

    Shards of one run count as one run. Nothing is judged again, and nothing is downloaded.

    [dim]cgcli eval report runs/*.jsonl
    cgcli eval report runs/*.jsonl -o report.html --csv report.csv[/dim]
    """
    from cgcli.core.files import write_atomic
    from cgcli.evals.report.numbers import as_csv, as_json, numbers, published
    from cgcli.evals.report.runs import read_runs
    from cgcli.evals.report.sections import sections
    from cgcli.terminal.text import plural

    run = run_of(ctx)
    _check(runs, output, csv)
    found = read_runs(runs, _problems(run, data))
    others = published(found)
    if output:
        from cgcli.evals.report.page import page

        write_atomic(
            output,
            page(sections(found, others), "How often the programs are right").encode("utf-8", "backslashreplace"),
        )
    if csv:
        write_atomic(csv, as_csv(numbers(found, others)).encode("utf-8", "backslashreplace"))
    if to_json:
        run.output.json(as_json(found, numbers(found, others)))
    elif not output and not csv:
        for section in sections(found, others):
            _print(run.output, section)
    for path in filter(None, (output, csv)):
        run.output.note(f"{path}: {plural(len(found), 'run')}")


def _check(runs: Sequence[Path], *files: Path | None) -> None:
    """Raise for files that cannot be written, before anything is read."""
    from cgcli.core.errors import UsageError
    from cgcli.core.files import check_writable
    from cgcli.evals.judging import results_path
    from cgcli.evals.report.plots import check

    read = {path.resolve() for run in runs for path in (run, results_path(run))}
    written = [file for file in files if file]
    for file in written:
        if file.resolve() in read:
            raise UsageError(f"{file} is one of the runs", hint="choose another file to write")
        check_writable(file)
    if len({file.resolve() for file in written}) < len(written):
        raise UsageError(f"--output and --csv both name {written[0]}", hint="choose two files")
    if files[0]:
        check()


def _problems(run: Run, data: Path | None) -> Mapping[str, Problem]:
    """MTPB's, if there is a file of them. A report downloads nothing."""
    from cgcli.evals.mtpb import PUBLISHED, load

    path = data or run.environment.data / "evals" / PUBLISHED.name
    return {problem.id: problem for problem in load(path)} if data or path.is_file() else {}


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
