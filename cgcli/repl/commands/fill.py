"""`/fill`: code in the middle of the program."""

from __future__ import annotations

from cgcli.core.errors import CgcliError, Interrupted, UsageError
from cgcli.program.generation import Generation
from cgcli.program.history import Fill
from cgcli.program.hole import find_hole
from cgcli.program.languages import parse_python
from cgcli.repl.command import LINE, command
from cgcli.repl.draw import report_stale
from cgcli.repl.state import Repl
from cgcli.terminal.text import plural


@command(LINE.optional)
def fill(repl: Repl, line: int | None) -> None:
    """write at LINE

    Writes code at a line of the program; `/show all` numbers the lines. A blank line is replaced; below a comment, or
    above a line of code, lines are inserted. Without LINE, writes below the only comment with nothing below it. The
    best of several candidates is taken; /undo takes it back.
    """
    from cgcli.program.infill import CANDIDATES
    from cgcli.program.infill import fill as draw

    source = repl.program.source()
    hole = find_hole(source, line, repl.language, name="the program", command="/fill ")
    session, options = repl.session(), repl.options
    count = options.candidates if options.candidates > 1 else 1 if session.engine.infill else CANDIDATES
    how = Generation.of(options.settings, repl.choice.card, repl.language.rules, candidates=count)
    found = draw(session.engine, hole, how, turn=len(repl.history.versions), progress=repl.ui.progress)
    if found.interrupted:
        raise Interrupted("interrupted; nothing was written")
    if found.accepted is None:
        raise CgcliError(
            f"the model returned nothing in {plural(count, 'attempt')}", hint="try /seed N, or another line"
        )
    # Where the source has no line end at its end, the hole has made one.
    begin, missing = len(hole.before) - len(hole.head), not source.endswith("\n") and len(hole.before) > len(source)
    end = len(source) - len(hole.after.removeprefix("\n"))
    try:
        repl.do(repl.history.commit(Fill(begin - missing, end, "\n" * missing + hole.lines(found.text), hole.line)))
    except IndexError:
        raise UsageError(f"line {hole.line} is part of a prompt", hint="/edit N rewords the prompt of turn N") from None
    repl.ui.screen.code(hole.lines(found.text).removesuffix("\n"), first=hole.line)
    if count > 1:
        repl.ui.screen.note(f"candidate {found.accepted + 1} of {count}; /undo takes it back")
    python = repl.language.name == "python"
    if python and parse_python(source) and not parse_python(repl.program.source()):
        repl.ui.screen.note("the program does not parse now: /undo takes it back")
    report_stale(repl)
