"""The loop: read, do, say what went wrong, read again. Nothing that a command raises ends it.

Knows neither terminal nor command line; the program's text goes to whoever called, by `Repl.program`.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator

from cgcli.core.errors import CgcliError, ExitStatus, Interrupted
from cgcli.repl.asking import ask
from cgcli.repl.commands import find
from cgcli.repl.show import greeting
from cgcli.repl.state import Repl


def loop(repl: Repl, *, debug: bool = False) -> int:
    """Greet, and go on until the end of input or /quit; returns the status of the last error, 0 where there was none.

    debug: show where an unexpected error comes from.
    """
    greeting(repl)
    status = int(ExitStatus.OK)
    default = ""
    while not repl.ended:
        try:
            line = repl.reader.read(default)
        except EOFError:
            break
        with repl.reader.watching():
            error = attempt(repl, line, debug=debug)
            if error is not None:
                status = error.status
                repl.screen.error(error)
        default = repl.reader.typed()
    return status


def attempt(repl: Repl, line: str, *, debug: bool = False) -> CgcliError | None:
    """Do what a line says; returns what went wrong."""
    try:
        with _interruptible():
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
    """A command behind a `/`, else a prompt; `//` begins a prompt with one. Raises what a command raises."""
    if line.startswith("/") and not line.startswith("//"):
        name, *rest = line[1:].split(maxsplit=1) or [""]
        command = find(name)
        command.run(repl, *command.values(repl, "".join(rest)))
    else:
        ask(repl, line.removeprefix("/"))


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    from cgcli.native.interrupt import interruptible

    with interruptible(patient=True):
        yield


def _unexpected(error: Exception) -> CgcliError:
    match error:
        case MemoryError():
            return CgcliError("out of memory", hint="a smaller model: /model NAME")
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return CgcliError(f"{where}{error.strerror or error}")
        case _:
            return CgcliError(f"internal error: {type(error).__name__}: {error}", hint="cgcli --debug repl shows where")
