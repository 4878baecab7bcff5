"""What every command shares: quick parsing, the run behind a context, and -q, -v and --debug before or after its name.

The three options are added to each command by its class, and act on the run as they are read; no command sees them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from functools import cache
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar, cast, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

from cgcli.app.run import Run
from cgcli.core.errors import CgcliError, UsageError

if TYPE_CHECKING:
    from typer.core import TyperArgument, TyperOption

    from cgcli.core.config import Settings

PANEL = "Common options"
COMPLETE = "_CGCLI_COMPLETE"  # set by a shell that asks what fits; Typer makes the name of the program's

ArgumentsT = TypeVar("ArgumentsT")


def run_of(ctx: typer.Context) -> Run:
    """The run that a command belongs to."""
    return cast(Run, ctx.find_root().obj)


def help_of(ctx: typer.Context | None) -> str:
    """The command that prints the help of a context's command."""
    return f"{ctx.command_path if ctx else 'cgcli'} --help"


def settings_of(ctx: typer.Context) -> Settings:
    """The settings, with the options of this command. Raises UsageError for a wrong one."""
    return run_of(ctx).settings(ctx.params)


def arguments_of(ctx: typer.Context, kind: type[ArgumentsT]) -> ArgumentsT:
    """A dataclass filled from the parameters that have its fields' names. Lists become tuples; a parameter that was not
    given leaves the field's default."""
    values = {field.name: ctx.params[field.name] for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    given = {name: value for name, value in values.items() if value is not None}
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def _acting(act: Callable[[Run], None]) -> Callable[[typer.Context, bool], None]:
    def callback(ctx: typer.Context, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            act(run_of(ctx))

    return callback


def _quiet(run: Run) -> None:
    run.output.quiet = True


def _option(act: Callable[[Run], None], *names: str, text: str) -> Any:
    return typer.Option(*names, help=text, callback=_acting(act), expose_value=False, rich_help_panel=PANEL)


def _common(
    quiet: Annotated[bool, _option(_quiet, "-q", "--quiet", text="Print only errors.")] = False,
    verbose: Annotated[bool, _option(Run.enable_verbose, "-v", "--verbose", text="Show more on stderr.")] = False,
    debug: Annotated[bool, _option(Run.enable_debug, "--debug", text="Show llama.cpp's log and tracebacks.")] = False,
) -> None: ...


@cache
def _common_params() -> list[TyperArgument | TyperOption]:
    app = typer.Typer(add_completion=False)
    app.command()(_common)
    return typer.main.get_command(app).params  # type: ignore[return-value]


def _with_common(own: list[Any]) -> list[Any]:
    """A command's parameters and the common options, without the names that it gives to its own."""
    taken = {name for param in own for name in param.opts}
    found = list(own)
    for param in map(copy, _common_params()):
        param.opts = [name for name in param.opts if name not in taken]
        found.append(param)
    return found


class _Plain:
    """Parses words of the command line into str, int, float, Path or one of several choices, or a list of these.
    (Flags arrive as bool.)

    Typer does that with pydantic, whose import and adapters cost 0.12 s before the first token.
    """

    _WORDS: ClassVar = {bool: "yes or no", str: "text", int: "a whole number", float: "a number", Path: "a path"}

    def __init__(self, kind: type, least: float | None, choices: tuple[str, ...]) -> None:
        self._kind = kind
        self._least = least
        self._choices = choices

    @classmethod
    def of(cls, param: TyperArgument | TyperOption) -> _Plain | None:
        """The parser of a parameter; None for a kind that is left to Typer."""
        described, info = param.type_descriptor, param.type_descriptor.parameter_info
        kind: Any = described.annotation
        if get_origin(kind) is list:
            (kind,) = get_args(kind)
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        if choices:
            kind = str
        plain = kind in cls._WORDS and info.parser is None and info.max is None and not info.exists
        return cls(kind, info.min, choices) if plain else None

    def coerce(self, value: Any, param: TyperArgument | TyperOption, ctx: typer.Context) -> Any:
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        if isinstance(value, (list, tuple)):
            return [self.coerce(one, param, ctx) for one in value]
        try:
            known = self._kind(value)
        except ValueError:
            raise typer.BadParameter(f"{value!r} is not {self._WORDS[self._kind]}", ctx=ctx, param=param) from None
        if self._least is not None and known < self._least:
            raise typer.BadParameter(f"{value!r} is less than {self._least}", ctx=ctx, param=param)
        if self._choices and known not in self._choices:
            *some, last = self._choices
            raise typer.BadParameter(f"{value!r} is not {', '.join(some)} or {last}", ctx=ctx, param=param)
        return known


def _plain_params(params: list[Any]) -> list[Any]:
    """The parameters, parsed by `_Plain` if it can, and without `<bool>` and `<list[str]>` in the help."""
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
        param._get_number_range_help_str = lambda: None  # `[x>=1]`, which an error says in words
        if param.name == "help":
            param.rich_help_panel = PANEL
        if param.param_type_name == "argument":
            param.display_type_rich = lambda ctx: None
        # Typer looks here before it builds a parser. Should it stop looking here, parsing only gets slower.
        param._runtime_param = param._runtime_param or _Plain.of(param)
    return params


def _flowing(text: str | None) -> str | None:
    """A help text with each paragraph on one line, which the terminal's width breaks. Examples keep their lines."""
    if text is None:
        return None
    paragraphs = cleandoc(text).split("\n\n")
    return "\n\n".join(one if one.startswith("[dim]") else " ".join(one.split("\n")) for one in paragraphs)


class _NamesItsHelp:
    """Lets an error about an option name the command: the parser raises it without the context."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return cast(list[str], super().parse_args(ctx, args))  # type: ignore[misc]
        except typer.TyperException as error:
            if getattr(error, "ctx", None) is None:
                error.ctx = ctx  # type: ignore[attr-defined]
            raise


class Command(_NamesItsHelp, TyperCommand):
    """A command with the common options and the user's colors."""

    def __init__(self, name: str | None, **rest: Any) -> None:
        super().__init__(name, **rest)
        self.params = _with_common(self.params)
        self.help = _flowing(self.help)

    def invoke(self, ctx: Any) -> Any:
        self.prepare(run_of(ctx))
        try:
            return super().invoke(ctx)
        except UsageError as error:
            if error.hint is None and error.message.startswith("--"):
                error.hint = help_of(ctx)
            raise

    def prepare(self, run: Run) -> None:
        run.begin()

    def get_params(self, ctx: Any) -> list[Any]:
        return _plain_params(super().get_params(ctx))


class Examination(Command):
    """A command that runs in spite of a wrong setting, to report it."""

    def prepare(self, run: Run) -> None:
        with suppress(CgcliError):
            run.choose_color()


class Group(_NamesItsHelp, TyperGroup):
    """A group of commands with the common options."""

    def __init__(self, **rest: Any) -> None:
        super().__init__(**rest)
        self.params = _with_common(self.params)
        self.help = _flowing(self.help)

    def get_params(self, ctx: Any) -> list[Any]:
        return _plain_params(super().get_params(ctx))
