"""`cgcli templates`: list the templates of programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from cgcli.cli.command import run_of
from cgcli.cli.options import JsonOption

if TYPE_CHECKING:
    from cgcli.core.templates import Template


def templates(ctx: typer.Context, json: JsonOption = False) -> None:
    """List the templates of programs, for `cgcli gen -T`.

    Lists those in config.toml and in this project's .cgcli.toml.
    """
    from cgcli.core.templates import load_templates

    run = run_of(ctx)
    found = load_templates(run.environment).values()
    if json:
        run.output.json([_listed(one) for one in found])
    elif found:
        run.output.table(("TEMPLATE", "SETS", "FILE"), [_row(one) for one in found], clip="SETS")
    else:
        run.output.note(f"no templates; to make one, write [templates.NAME] into {run.environment.config_file}")


def _listed(one: Template) -> dict[str, object]:
    file = str(one.prefix_file) if one.prefix_file else None
    return {
        "name": one.name,
        "file": str(one.path),
        "settings": dict(one.settings),
        "prefix_file": file,
        "checks": list(one.checks),
    }


def _row(one: Template) -> tuple[str, ...]:
    from cgcli.cli.sessions import short

    sets = [f"{name} {str(value).strip().partition(chr(10))[0]}" for name, value in one.settings.items()]
    sets += [f"prefix_file {short(str(one.prefix_file))}"] * bool(one.prefix_file)
    sets += [f"check {check}" for check in one.checks]
    return one.name, ", ".join(sets), short(str(one.path))
