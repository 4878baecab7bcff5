"""`cgcli log`: the runs of `gen`: list, search, show, reuse and remove them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from cgcli.cli.command import Command, Group, run_of
from cgcli.cli.options import JsonOption

if TYPE_CHECKING:
    from datetime import datetime

    from cgcli.program.log_reader import LoggedRun, Match

_TITLE = 50  # columns

Number = Annotated[
    int | None,
    typer.Argument(
        metavar="N", show_default=False, help="Number of a run, as `cgcli log` lists it (default: the last)."
    ),
]


def build() -> typer.Typer:
    """The command group."""
    app = typer.Typer(
        cls=Group, invoke_without_command=True, help="List what was written, search it, and use it again."
    )
    app.callback()(log)
    for command in (show, use, prune):
        app.command(cls=Command)(command)
    return app


def log(
    ctx: typer.Context,
    query: Annotated[
        str, typer.Option("-q", "--query", metavar="WORDS", help="Find runs and sessions by words in them.")
    ] = "",
    count: Annotated[
        int,
        typer.Option("-n", "--number", metavar="N", min=1, show_default=False, help="List at most N (default: 20)."),
    ] = 20,
    json: JsonOption = False,
) -> None:
    """List what was written, search it, and use it again."""
    if ctx.invoked_subcommand is not None:
        return
    from cgcli.app.log import found_runs, last_runs

    run = run_of(ctx)
    run.choose_color()
    if query:
        found = found_runs(run, query, count)
        rows, values = [_match_row(one) for one in found], [_match(one) for one in found]
    else:
        runs = last_runs(run, count)
        rows, values = [_row(one) for one in runs], [_listed(one) for one in runs]
    if json:
        run.output.json(values)
    elif rows:
        run.output.table(("RUN", "BEGUN", "STATE", "PROMPTS", "FILE"), rows, clip="PROMPTS")
    else:
        run.output.note(f"nothing with the words {query}" if query else "nothing is logged yet")


def show(
    ctx: typer.Context,
    number: Number = None,
    raw: Annotated[bool, typer.Option("-r", "--raw", help="Print only the text that the run wrote.")] = False,
    json: JsonOption = False,
) -> None:
    """Print a run: its settings, and the text that it wrote."""
    from cgcli.app.log import logged_run

    run = run_of(ctx)
    found = logged_run(run, number)
    if json:
        from cgcli.program.report import turn_values

        turns = [turn_values(turn) for turn in found.end.turns] if found.end else []
        text = found.end.text if found.end else None
        run.output.json(_listed(found) | {"how": found.start.how, "turns": turns, "text": text})
        return
    if not raw:
        for name, value in _facts(found):
            run.output.text(f"{name}: {value}")
        run.output.text()
    _print(ctx, found, found.end.text if found.end else "")


def use(
    ctx: typer.Context,
    number: Number = None,
    replaced: Annotated[
        bool, typer.Option("--replaced", help="Print instead what `gen -o` replaced, if cgcli had not written it.")
    ] = False,
) -> None:
    """Print the whole program of a run: what it began with, and what it wrote."""
    from cgcli.app.log import logged_run
    from cgcli.core.errors import CgcliError
    from cgcli.program.source import encode

    found = logged_run(run_of(ctx), number)
    if replaced and not found.start.replaced:
        raise CgcliError(f"run {found.number} replaced nothing that cgcli did not write")
    if replaced:
        run_of(ctx).output.write(encode(found.start.replaced))
    else:
        _print(ctx, found, found.program)


def prune(
    ctx: typer.Context,
    days: Annotated[
        int,
        typer.Option(
            "--days", metavar="N", min=0, show_default=False, help="Keep the runs of the last N days (default: 90)."
        ),
    ] = 90,
) -> None:
    """Remove old runs from the log. Files and sessions are kept."""
    from cgcli.app.log import prune_log
    from cgcli.terminal.text import plural

    run = run_of(ctx)
    run.output.note(f"removed {plural(prune_log(run, days), 'run')}")


def _print(ctx: typer.Context, found: LoggedRun, text: str) -> None:
    from cgcli.app.streams import stdout_sink

    run = run_of(ctx)
    if found.end is None:
        run.output.note("the run is not done" if found.running else "the run was killed; its text was not kept")
    sink = stdout_sink(run.output, found.start.language)
    sink.write(text)
    sink.close()


def _row(one: LoggedRun) -> tuple[str, ...]:
    prompts = [prompt for prompt in one.start.prompts if prompt] or [shlex.join(("cgcli", *one.start.command))]
    return _cells(str(one.number), one.begun, one.state, prompts, one.start.file)


def _match_row(one: Match) -> tuple[str, ...]:
    if one.run:
        return _row(one.run)
    return _cells(one.session, one.when, "session", one.prompts.split("\n"), None)


def _cells(name: str, when: datetime, state: str, prompts: list[str], file: str | None) -> tuple[str, ...]:
    from cgcli.cli.sessions import short
    from cgcli.terminal.text import clipped, visible

    shown = clipped(visible(" · ".join(prompts)), _TITLE)
    return name, f"{when.astimezone():%Y-%m-%d %H:%M}", state, shown, visible(short(file)) if file else ""


def _listed(one: LoggedRun) -> dict[str, object]:
    return {
        "run": one.number,
        "begun": one.begun.isoformat(),
        "ended": one.ended.isoformat() if one.ended else None,
        "state": one.state or "done",
        "status": one.end.status if one.end else None,
        "folder": one.start.folder,
        "command": list(one.start.command),
        "prompts": list(one.start.prompts),
        "file": one.start.file,
        "verdict": (one.end.verdict if one.end else "") or None,
    }


def _match(one: Match) -> dict[str, object]:
    if one.run:
        return _listed(one.run)
    return {"session": one.session, "changed": one.when.isoformat(), "prompts": one.prompts.split("\n")}


def _facts(one: LoggedRun) -> list[tuple[str, str]]:
    from cgcli.app.turn_report import kept_candidate
    from cgcli.program.conditions import label
    from cgcli.program.source import lines_of
    from cgcli.terminal.text import plural

    took = f", {(one.ended - one.begun).total_seconds():.0f} s" if one.ended else ""
    facts = [
        ("run", f"{one.number}{f', {one.state}' if one.state else ''}"),
        ("begun", f"{one.begun.astimezone():%Y-%m-%d %H:%M:%S}{took}"),
        ("folder", one.start.folder),
        ("command", shlex.join(("cgcli", *one.start.command))),
        ("file", one.start.file or ""),
        ("replaced", plural(len(lines_of(one.start.replaced)), "line") if one.start.replaced else ""),
        ("verdict", one.end.verdict if one.end else ""),
    ]
    for number, turn in enumerate(one.end.turns if one.end else (), 1):
        if turn.accepted is not None and len(turn.candidates) > 1:
            facts.append((f"turn {number}", kept_candidate(turn, turn.accepted)))
    how = [(label(name), _shown(value)) for name, value in one.start.how.items()]
    return [(name, value) for name, value in (*facts, *how) if value]


def _shown(value: object) -> str:
    """A condition's value, for the user."""
    if isinstance(value, list):
        return ", ".join(map(repr, value))
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
