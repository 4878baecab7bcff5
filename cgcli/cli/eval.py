"""`cgcli eval`: how often a model's programs are right, by published benchmarks. One file each."""

from __future__ import annotations

import typer

from cgcli.cli.command import Command, Group


def build() -> typer.Typer:
    """The group of commands, to be added to the application."""
    from cgcli.cli import eval_humaneval, eval_mtpb, eval_report

    app = typer.Typer(cls=Group, invoke_without_command=True)
    app.callback()(_start)
    app.command("humaneval", cls=Command)(eval_humaneval.humaneval)
    app.command("mtpb", cls=Command)(eval_mtpb.mtpb)
    app.command("report", cls=Command)(eval_report.report)
    return app


def _start(ctx: typer.Context) -> None:
    """Measure how often a model's programs are right."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
