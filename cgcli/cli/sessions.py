"""`cgcli sessions`: list, show, resume, export, remove and prune saved programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cgcli.cli.command import Command, Group, run_of
from cgcli.cli.options import JsonOption, export_formats, programs
from cgcli.terminal.text import clipped, plural, visible

if TYPE_CHECKING:
    from cgcli.program.history import History
    from cgcli.program.program_store import Summary

_TITLE = 40  # columns

Id = Annotated[
    str, typer.Argument(metavar="ID", help="ID of a program, or its unique beginning.", autocompletion=programs)
]


def build() -> typer.Typer:
    """The command group."""
    app = typer.Typer(cls=Group, invoke_without_command=True, help="List saved programs and manage them.")
    app.callback()(sessions)
    for command in (show, resume, rm, prune, export):
        app.command(cls=Command)(command)
    return app


def sessions(ctx: typer.Context, json: JsonOption = False) -> None:
    """List saved programs and manage them."""
    if ctx.invoked_subcommand is not None:
        return
    from cgcli.app.stores import program_store

    run = run_of(ctx)
    run.begin()
    found = program_store(run).list()
    if json:
        run.output.json([_listed(one) for one in found])
    elif listed := [one for one in found if not one.empty]:
        header = ("ID", "LAST CHANGED", "TURNS", "STATE", "TITLE", "FILE")
        run.output.table(header, [_row(one) for one in listed], clip="TITLE")
    else:
        run.output.note("no programs yet; type: cgcli repl")
    if not json and (empty := sum(one.empty for one in found)):
        run.output.note(f"{plural(empty, 'program')} without turns not listed; `cgcli sessions prune` removes them")
    for one in found:
        if one.damage:
            run.output.note(one.damage)


def show(
    ctx: typer.Context,
    name: Id,
    journal: Annotated[bool, typer.Option("--journal", help="Print its versions instead of its text.")] = False,
) -> None:
    """Print the current text of a program."""
    from cgcli.app.stores import program_store
    from cgcli.app.streams import stdout_sink

    run = run_of(ctx)
    found = program_store(run).read(name)
    if journal:
        run.output.table(("VERSION", "FROM", "WHAT", "BRANCHES"), _versions(found.history))
        return
    sink = stdout_sink(run.output, found.header.language)
    sink.write(found.history.program.source())
    sink.close()


def resume(
    ctx: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="[ID]", help="Program to resume (default: the latest).", autocompletion=programs)
    ] = "",
) -> int:
    """Resume a program in the REPL, like `cgcli repl --resume`."""
    from cgcli.app.repl import start_repl

    run = run_of(ctx)
    return start_repl(run, run.settings(), resume=name)


def rm(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="ID", help="Programs to remove.", autocompletion=programs)],
) -> None:
    """Remove programs with all their versions. Files that they were saved to are kept."""
    from cgcli.app.stores import remove_programs

    run = run_of(ctx)
    for removed in remove_programs(run, names):
        run.output.note(f"removed {removed}")


def prune(
    ctx: typer.Context,
    days: Annotated[
        int | None,
        typer.Option("--days", metavar="N", min=1, help="Also remove those that have not changed for N days."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
) -> None:
    """Remove programs without turns, and old ones. Files that they were saved to are kept."""
    from cgcli.app.stores import prune_programs

    run = run_of(ctx)
    removed = list(prune_programs(run, days=days, dry_run=dry_run))
    for one in removed:
        title = f" {clipped(visible(one.title), _TITLE)}" if one.title else ""
        run.output.note(f"{'would remove' if dry_run else 'removed'} {visible(one.id)}{title}")
    if not removed:
        run.output.note("nothing to remove")


def export(
    ctx: typer.Context,
    name: Id,
    form: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="ipynb (one cell per turn), md, or mtpb (an evaluation problem as JSON).",
            autocompletion=export_formats,
        ),
    ],
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to FILE.")] = None,
) -> None:
    """Export a program as a notebook, as Markdown or as an MTPB problem."""
    from cgcli.app.stores import exported_program
    from cgcli.app.streams import stdout_sink

    run = run_of(ctx)
    text, language = exported_program(run, name, form, output)
    if not output:
        sink = stdout_sink(run.output, language)
        sink.write(text)
        sink.close()


def _row(one: Summary) -> tuple[str, ...]:
    return (
        visible(one.id),
        one.when.astimezone().strftime("%Y-%m-%d %H:%M"),
        "" if one.damage else str(one.turns),
        "damaged" if one.damage else "open" * one.open,
        clipped(visible(one.title), _TITLE),
        visible(short(one.file)) if one.file else "",
    )


def short(file: str) -> str:
    """A path relative to the current folder, if it lies inside."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


def _listed(one: Summary) -> dict[str, object]:
    return {
        "id": one.id,
        "changed": one.when.isoformat(timespec="seconds"),
        "turns": None if one.damage else one.turns,
        "bytes": one.size,
        "open": one.open,
        "title": one.title or None,
        "file": one.file,
        "damage": one.damage,
    }


def _versions(history: History) -> list[tuple[str, ...]]:
    """A row per version: its parent, the change, and the branches that end there; * marks the current one."""
    from cgcli.program.history import Add

    rows: list[tuple[str, ...]] = []
    for number, version in enumerate(history.versions):
        what = str(version.operation or "the beginning")
        if isinstance(version.operation, Add) and version.operation.turn.prompt:
            prompt = visible(version.operation.turn.prompt.partition("\n")[0])
            what += f": {clipped(prompt, _TITLE)}"
        names = [
            f"{'*' * (name == history.branch)}{visible(name)}" for name, at in history.branches.items() if at == number
        ]
        rows.append((str(number), "" if version.parent is None else str(version.parent), what, ", ".join(names)))
    return rows
