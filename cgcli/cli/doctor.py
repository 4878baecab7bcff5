"""`cgcli doctor`: check the installation."""

from __future__ import annotations

from typing import Annotated

import typer

from cgcli.cli.command import Examination, run_of
from cgcli.cli.options import JsonOption

COMMAND = Examination


def doctor(
    ctx: typer.Context,
    online: Annotated[bool, typer.Option("--online", help="Also check the connection to the Hub.")] = False,
    json: JsonOption = False,
) -> int:
    """Check the installation and suggest fixes.

    Exits with status 1 if something is broken; a mere suggestion leaves the status at 0.
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
