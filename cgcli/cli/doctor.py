"""`cgcli doctor`: what this installation is made of, and what to do about a part that is not right."""

from __future__ import annotations

from typing import Annotated

import typer

from cgcli.cli.command import run_of


def doctor(
    ctx: typer.Context,
    online: Annotated[bool, typer.Option("--online", help="Ask the Hub, too, whether it can be reached.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Check the installation and say what to do where something is not right.

    Ends with status 1 if something is broken; a mere hint does not count.
    """
    from cgcli.app.doctor import findings
    from cgcli.core.errors import ExitStatus
    from cgcli.terminal.text import one_line

    run = run_of(ctx)
    found = findings(run.environment, run.output.progress(), online=online)
    if json:
        run.output.json([one.as_json() for one in found])
    else:
        for one in found:
            run.output.text(f"{one.mark} {one.name:16} {one_line(one.value)}")
            if one.hint:
                run.output.text(f"  {'':16} → {one_line(one.hint)}")
    return ExitStatus.FAILED if any(one.broken for one in found) else ExitStatus.OK
