"""The read-eval-print loop: read a line, run it, report what went wrong. No error of a command ends it.

Knows neither the terminal nor the command line; the caller prints the program, from `Repl.program`.
"""

from __future__ import annotations

import traceback

from cgcli.core.errors import CgcliError, ExitStatus, Interrupted, UsageError
from cgcli.repl.commands import find
from cgcli.repl.commands.inspect import show_greeting
from cgcli.repl.draw import draw_turn
from cgcli.repl.reader import View, is_command
from cgcli.repl.state import Repl
from cgcli.repl.status import StatusBar

_MEANT = {"exit": "/quit", "exit()": "/quit", "quit": "/quit", "quit()": "/quit", ":q": "/quit", "help": "/help"}
"""Words that quit or show help in other programs."""


def loop(repl: Repl, *, debug: bool = False) -> int:
    """Run until the end of input or /quit; returns the status of the last error, 0 if there was none.

    Ctrl-C ends a script. debug: show a traceback for unexpected errors.
    """
    show_greeting(repl)
    view = StatusBar(repl)
    status = int(ExitStatus.OK)
    warned = interrupted = False
    while True:
        error = None
        try:
            if interrupted:
                repl.ui.screen.dropped(repl.ui.reader.drop())
                interrupted = False
            error = _next(repl, view, debug=debug)
        except EOFError:
            repl.ended = True
        except KeyboardInterrupt:  # while a script waits for its next line, or just before or after a prompt
            error = Interrupted() if repl.ui.script else None
            interrupted = True
        if error is not None:
            status = int(error.status)
        # The first attempt to leave with unwritten work only warns.
        warned = repl.ended and not repl.ui.script and not warned and not _is_written(repl)
        if (repl.ended and not warned) or (repl.ui.script and isinstance(error, Interrupted)):
            return status
        repl.ended = False


def attempt(repl: Repl, line: str, *, debug: bool = False) -> CgcliError | None:
    """Run a line; returns the error that ended it."""
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
            repl.ui.screen.note(traceback.format_exc().rstrip())
        return _unexpected(error)
    return None


def handle(repl: Repl, line: str) -> None:
    """Run a command, or draw a turn for a prompt. Raises what the command raises."""
    if is_command(line):
        name, *rest = line[1:].split(maxsplit=1) or [""]
        command = find(name)
        command.run(repl, *command.values(repl, "".join(rest)))
    elif line.startswith("!"):
        _run_in_shell(repl, line[1:].strip())
    elif meant := _MEANT.get(line.strip()):
        raise UsageError(f"{line.strip()} is not a command", hint=f"did you mean {meant}?")
    else:
        draw_turn(repl, line.removeprefix("/"))


def _run_in_shell(repl: Repl, command: str) -> None:
    if not command:
        raise UsageError("no command given after !", hint="!ls lists the files of this folder")
    status = repl.ui.reader.shell(command, repl.ui.screen.descriptor)
    if status:
        repl.ui.screen.note(f"status {status}")


def _next(repl: Repl, view: View, *, debug: bool) -> CgcliError | None:
    """Read a line and run it; returns the error that ended it, which has been shown."""
    from cgcli.native.interrupt import interruptible

    reader, screen = repl.ui.reader, repl.ui.screen
    repl.ui.show_notes()
    default, repl.next_line = repl.next_line, ""
    line = reader.read(view, default)
    with interruptible(patient=True) as interrupt:
        with reader.watching():
            error = attempt(repl, line, debug=debug)
            if repl.ui.script and interrupt.requested:  # also if part of a turn was kept
                error = Interrupted()
            if error is not None:
                screen.error(error, where=reader.where)
        if repl.ended or interrupt.requested or isinstance(error, Interrupted):
            screen.dropped(reader.drop())
        interrupt.clear()
    return error


def _is_written(repl: Repl) -> bool:
    """Whether everything is on the disk; shows an error if it is not."""
    try:
        repl.journal.flush("/save FILE saves it to another disk; /quit again leaves without it")
    except CgcliError as error:
        repl.ui.screen.error(error)
        return False
    return True


def _unexpected(error: Exception) -> CgcliError:
    match error:
        case MemoryError():
            return CgcliError("out of memory", hint="load a smaller model with /model NAME")
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return CgcliError(f"{where}{error.strerror or error}")
        case _:
            return CgcliError(f"internal error: {type(error).__name__}: {error}", hint="cgcli --debug repl")
