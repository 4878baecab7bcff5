"""The command line: all commands, and the one place where an exception becomes text and an exit status.

Command modules import nothing heavy at their top, since `--help` reads all of them in 400 ms.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

from cgcli.app.run import Run
from cgcli.cli.command import COMPLETE, Command, Examination, Group, help_of, run_of
from cgcli.core.errors import CgcliError, ExitStatus, Interrupted, UsageError
from cgcli.core.signals import Terminated, handled_signals


def _version(ctx: typer.Context, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        from cgcli import __version__

        run_of(ctx).output.text(f"cgcli {__version__}")
        raise typer.Exit


def _start(
    ctx: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_version, expose_value=False),
    ] = False,
) -> None:
    """Write programs from prompts, with CodeGen models on your own machine."""
    if ctx.invoked_subcommand is None:
        from cgcli.app.repl import is_interactive, start_repl

        run = run_of(ctx)
        run.begin()
        if is_interactive(run):
            start_repl(run, run.settings())
        else:
            typer.echo(ctx.get_help())


def _help(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="COMMAND", help="A command, such as gen or log show.")
    ] = None,
) -> None:
    """Show the help of a command."""
    from cgcli.core.config import nearest

    app: Any = typer.main.get_command(build())
    place, path = app, "cgcli"
    for word in words or ():
        commands = getattr(place, "commands", {})
        if word not in commands:
            raise UsageError(f"{path} has no command {word!r}{nearest(word, commands)}", hint=f"{path} --help")
        place, path = commands[word], f"{path} {word}"
    app(args=[*(words or ()), "--help"], prog_name="cgcli", standalone_mode=False, obj=run_of(ctx))


_PANELS = {
    "Write programs": (
        "gen",
        "fill",
        "repl",
        "watch",
        "run",
        "score",
        "serve",
        "sessions",
        "log",
        "replay",
        "templates",
    ),
    "Models": ("pull", "models", "convert", "train", "bench", "eval"),
    "Help": ("completion", "help", "doctor"),
}
_MODULES = {"convert": "pull"}  # of commands that have none of their name


def build(wanted: str = "") -> typer.Typer:
    """The application with all its commands; with the wanted one alone, if there is one."""
    app = typer.Typer(
        cls=Group,
        invoke_without_command=True,
        add_completion=False,  # options that do what `cgcli completion` does
        pretty_exceptions_enable=False,
        suggest_commands=False,  # _usage does it, for options too
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_start)
    alone = any(wanted in names for names in _PANELS.values())
    for panel, names in _PANELS.items():
        for name in names:
            if name == wanted or not alone:
                _add(app, name, panel)
    return app


def _add(app: typer.Typer, name: str, panel: str) -> None:
    """Add a command from its module: `build` makes a group; it may have a `COMMAND` class and a `CONTEXT`."""
    if name == "help":
        app.command(name, cls=Examination, rich_help_panel=panel)(_help)
        return
    module = import_module(f"cgcli.cli.{_MODULES.get(name, name)}")
    if hasattr(module, "build"):
        app.add_typer(module.build(), name=name, rich_help_panel=panel)
        return
    kind, context = getattr(module, "COMMAND", Command), getattr(module, "CONTEXT", None)
    app.command(name, cls=kind, context_settings=context, rich_help_panel=panel)(getattr(module, name))


def main(arguments: Sequence[str]) -> int:
    """Run one command line and return the exit status. Raises nothing."""
    run = Run.from_process()
    run.arguments = tuple(arguments)
    with handled_signals() as handler:
        try:
            status = _invoke(run, arguments)
        except BrokenPipeError:
            status = ExitStatus.OK  # the reader has enough
        except Exception as error:
            status = _report(run, error)
        except KeyboardInterrupt:
            status = _report(run, Interrupted())
        except Terminated as end:
            status = _report(run, Interrupted(f"terminated by {end.name}"))
        _flush(run)
    return handler.status if handler.status and status == ExitStatus.INTERRUPTED else status


def _invoke(run: Run, arguments: Sequence[str]) -> int:
    if COMPLETE in os.environ:  # a shell asks what fits
        from typer._completion_classes import completion_init

        completion_init()
    try:
        result = build(*arguments[:1])(args=list(arguments), prog_name="cgcli", standalone_mode=False, obj=run)
    except Terminated:
        raise
    except SystemExit as stop:
        # Typer exits this way after a completion, and with status 1 after a closed pipe.
        if isinstance(stop.__context__, BrokenPipeError):
            return ExitStatus.OK
        return stop.code if isinstance(stop.code, int) else ExitStatus.OK
    return result if isinstance(result, int) else ExitStatus.OK


def _report(run: Run, error: BaseException) -> int:
    """Print the error as one line, with --debug after a traceback, and return its status."""
    if run.debug:
        import traceback

        for line in "".join(traceback.format_exception(error)).splitlines():
            run.output.detail(line)
    known = _known(error, run.arguments)
    run.output.error(known)
    return known.status


def _known(error: BaseException, arguments: Sequence[str]) -> CgcliError:
    match error:
        case CgcliError():
            return error
        case typer.TyperException():
            return _usage(error, arguments)
        case typer.Abort():
            return CgcliError("aborted")
        case MemoryError():
            return CgcliError("out of memory", hint="use a smaller model or quantization: cgcli models")
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return CgcliError(f"{where}{error.strerror or error}")
        case _:
            return CgcliError(
                f"internal error: {type(error).__name__}: {error}", hint="please report it with the output of --debug"
            )


def _usage(error: typer.TyperException, arguments: Sequence[str]) -> UsageError:
    """Translate Typer's error: one line, with the nearest option or what was meant, and the command's help as hint."""
    import shlex

    from cgcli.core.config import nearest

    message = " ".join(error.format_message().split()).rstrip(".")
    message = message[:1].lower() + message[1:]
    ctx = getattr(error, "ctx", None)
    option = str(getattr(error, "option_name", None))
    at_top = ctx is not None and ctx.parent is None
    if ctx is not None and message.startswith("no such option"):
        if at_top and option in _options(ctx.command.commands["gen"]):
            return UsageError(f"{option} is an option of gen", hint=shlex.join(["cgcli", "gen", *arguments]))
        message = f"no such option {option}{nearest(option, _options(ctx.command))}"
    elif ctx is not None and message.startswith("no such command"):
        word = message.removeprefix("no such command ").strip("'\"")
        near = _meant(word, ctx)
        if at_top and not near:
            meant = shlex.join(["cgcli", "gen", " ".join(arguments)])
            return UsageError(message, hint=f"to write a program, type: {meant}")
        message += near
    return UsageError(message, hint=help_of(ctx))


def _meant(word: str, ctx: typer.Context) -> str:
    """', did you mean ...?' for a word that is no command of a group; "" if it is like none."""
    from cgcli.core.config import nearest

    command: Any = ctx.command
    if f"--{word}" in _options(command):
        return f", did you mean {ctx.command_path} --{word}?"
    if word.isdecimal() and ctx.info_name == "log":
        return f", did you mean {ctx.command_path} show {word}?"
    return nearest(word, command.commands)


def _options(command: Any) -> list[str]:
    return [name for one in command.params for name in one.opts]


def _flush(run: Run) -> None:
    """Flush Typer's output in sys.stdout, or the interpreter would complain at its exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            # It cannot be written at exit either; point it elsewhere, as Python's documentation says.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
