"""The command line: all commands, and the one place where an exception becomes text and an exit status.

Command modules import nothing heavy at their top, since `--help` reads all of them in 400 ms.
"""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from cgcli.app.run import Run
from cgcli.cli.command import Command, Examination, Group, help_of, run_of
from cgcli.core.errors import CgcliError, ExitStatus, Interrupted, UsageError
from cgcli.core.signals import Terminated, handled_signals

WRITE = "Write programs"
MODELS = "Models"
HELP = "Help"


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


def build() -> typer.Typer:
    """The application with all its commands."""
    from cgcli.cli import (
        bench,
        completion,
        doctor,
        eval,
        fill,
        gen,
        log,
        models,
        pull,
        repl,
        replay,
        run,
        score,
        serve,
        sessions,
        templates,
        train,
        watch,
    )

    app = typer.Typer(
        cls=Group,
        invoke_without_command=True,
        pretty_exceptions_enable=False,
        suggest_commands=False,  # _usage does it, for options too
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_start)
    app.command("gen", cls=gen.GenCommand, rich_help_panel=WRITE)(gen.gen)
    app.command("fill", cls=Command, rich_help_panel=WRITE)(fill.fill)
    app.command("repl", cls=Command, rich_help_panel=WRITE)(repl.repl)
    app.command("watch", cls=Command, rich_help_panel=WRITE)(watch.watch)
    app.command("run", cls=Command, rich_help_panel=WRITE, context_settings={"allow_interspersed_args": False})(run.run)
    app.command("score", cls=Command, rich_help_panel=WRITE)(score.score)
    app.command("serve", cls=Command, rich_help_panel=WRITE)(serve.serve)
    app.add_typer(sessions.build(), name="sessions", rich_help_panel=WRITE)
    app.add_typer(log.build(), name="log", rich_help_panel=WRITE)
    app.command("replay", cls=Command, rich_help_panel=WRITE)(replay.replay)
    app.command("templates", cls=Command, rich_help_panel=WRITE)(templates.templates)
    app.command("pull", cls=Command, rich_help_panel=MODELS)(pull.pull)
    app.add_typer(models.build(), name="models", rich_help_panel=MODELS)
    app.command("convert", cls=Command, rich_help_panel=MODELS)(pull.convert)
    app.command("train", cls=Command, rich_help_panel=MODELS)(train.train)
    app.command("bench", cls=Command, rich_help_panel=MODELS)(bench.bench)
    app.add_typer(eval.build(), name="eval", rich_help_panel=MODELS)
    app.command("completion", cls=Command, rich_help_panel=HELP)(completion.completion)
    app.command("help", cls=Examination, rich_help_panel=HELP)(_help)
    app.command("doctor", cls=Examination, rich_help_panel=HELP)(doctor.doctor)
    return app


def _build_for(arguments: Sequence[str]) -> typer.Typer:
    """The application; if the command line begins with a command, with that one alone: Typer takes 2 ms to make one."""
    app = build()
    commands = [one for one in app.registered_commands if [one.name] == list(arguments[:1])]
    groups = [one for one in app.registered_groups if [one.name] == list(arguments[:1])]
    if commands or groups:
        app.registered_commands, app.registered_groups = commands, groups
    return app


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
    try:
        result = _build_for(arguments)(args=list(arguments), prog_name="cgcli", standalone_mode=False, obj=run)
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
