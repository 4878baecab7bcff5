"""The loop: read, do, say what went wrong, read again. Nothing that a command raises ends it.

Knows neither terminal nor command line; the program's text goes to whoever called, by `Repl.program`.
"""

from __future__ import annotations

import traceback

from cgcli.core.errors import CgcliError, ExitStatus, Interrupted, UsageError
from cgcli.repl.asking import ask
from cgcli.repl.commands import find
from cgcli.repl.reader import is_command
from cgcli.repl.show import greeting
from cgcli.repl.state import Repl

_MEANT = {"exit": "/quit", "exit()": "/quit", "quit": "/quit", "quit()": "/quit", ":q": "/quit", "help": "/help"}
"""Words that leave, or help, elsewhere."""


def loop(repl: Repl, *, debug: bool = False) -> int:
    """Greet, and go on until the end of input or /quit; returns the status of the last error, 0 where there was none.

    Ctrl-C ends a script. debug: show where an unexpected error comes from.
    """
    greeting(repl)
    status = int(ExitStatus.OK)
    warned = interrupted = False
    while True:
        error = None
        try:
            if interrupted:
                repl.screen.dropped(repl.reader.drop())
                interrupted = False
            error = _next(repl, debug=debug)
        except EOFError:
            repl.ended = True
        except KeyboardInterrupt:  # while a script's next line was waited for, or just before or after a prompt
            error = Interrupted() if repl.script else None
            interrupted = True
        if error is not None:
            status = int(error.status)
        # Who is warned that something would be lost may leave all the same.
        warned = repl.ended and not repl.script and not warned and not _kept(repl)
        if (repl.ended and not warned) or (repl.script and isinstance(error, Interrupted)):
            return status
        repl.ended = False


def attempt(repl: Repl, line: str, *, debug: bool = False) -> CgcliError | None:
    """Do what a line says; returns what went wrong."""
    try:
        handle(repl, line)
    except BrokenPipeError:
        raise
    except CgcliError as error:
        return error
    except KeyboardInterrupt:
        return Interrupted()
    except Exception as error:
        if debug:
            repl.screen.note(traceback.format_exc().rstrip())
        return _unexpected(error)
    return None


def handle(repl: Repl, line: str) -> None:
    """Do a command, or ask for what a prompt says. Raises what a command raises."""
    if is_command(line):
        name, *rest = line[1:].split(maxsplit=1) or [""]
        command = find(name)
        command.run(repl, *command.values(repl, "".join(rest)))
    elif meant := _MEANT.get(line.strip()):
        raise UsageError(f"{line.strip()} alone is no prompt", hint=f"did you mean {meant}?")
    else:
        ask(repl, line.removeprefix("/"))


def _next(repl: Repl, *, debug: bool) -> CgcliError | None:
    """Read a line and do what it says; returns what went wrong, which has been said."""
    from cgcli.native.interrupt import interruptible

    repl.tell_notes()
    default, repl.again = repl.again, ""
    line = repl.reader.read(default)
    with interruptible(patient=True) as interrupt:
        with repl.reader.watching():
            error = attempt(repl, line, debug=debug)
            if repl.script and interrupt.requested:  # also where a part of a turn was kept
                error = Interrupted()
            if error is not None:
                repl.screen.error(error, where=repl.reader.where)
        if repl.ended or interrupt.requested or isinstance(error, Interrupted):
            repl.screen.dropped(repl.reader.drop())
        interrupt.clear()
    return error


def _kept(repl: Repl) -> bool:
    """Whether all that was done is on the disk; says so where it is not."""
    try:
        repl.journal.flush("/save FILE on another disk keeps it, /quit again leaves")
    except CgcliError as error:
        repl.screen.error(error)
        return False
    return True


def _unexpected(error: Exception) -> CgcliError:
    match error:
        case MemoryError():
            return CgcliError("out of memory", hint="a smaller model: /model NAME")
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return CgcliError(f"{where}{error.strerror or error}")
        case _:
            return CgcliError(f"internal error: {type(error).__name__}: {error}", hint="cgcli --debug repl")
