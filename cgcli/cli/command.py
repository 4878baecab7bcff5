"""What all commands share on the command line: quick parsing, and -q, -v, --debug before or after the command's name.

The three options are added to each command by its class, and act on the run as they are read; no command sees them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

from cgcli.app.run import Run
from cgcli.core.errors import CgcliError

if TYPE_CHECKING:
    from typer.core import TyperArgument, TyperOption

    from cgcli.core.config import Settings

PANEL = "Common options"


def run_of(ctx: typer.Context) -> Run:
    """The run that a command belongs to."""
    return cast(Run, ctx.find_root().obj)


def settings_of(ctx: typer.Context) -> Settings:
    """The settings, with the options of this command. Raises UsageError for a wrong one."""
    return run_of(ctx).settings(ctx.params)


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
    quiet: Annotated[bool, _option(_quiet, "-q", "--quiet", text="Say nothing on stderr but errors.")] = False,
    verbose: Annotated[bool, _option(Run.say_more, "-v", "--verbose", text="Say more on stderr.")] = False,
    debug: Annotated[bool, _option(Run.say_all, "--debug", text="Say all: llama.cpp's log, and tracebacks.")] = False,
) -> None: ...


@cache
def _common_params() -> list[TyperArgument | TyperOption]:
    app = typer.Typer(add_completion=False)
    app.command()(_common)
    return typer.main.get_command(app).params  # type: ignore[return-value]


class _Plain:
    """Turns words of the command line into str, int, float or Path, or a list of one of them. (Flags arrive as bool.)

    Typer does that with pydantic, whose import and adapters cost 0.12 s before the first token.
    """

    _WORDS: ClassVar = {bool: "yes or no", str: "text", int: "a whole number", float: "a number", Path: "a path"}

    def __init__(self, kind: type, least: float | None) -> None:
        self._kind = kind
        self._least = least

    @classmethod
    def of(cls, param: TyperArgument | TyperOption) -> _Plain | None:
        """The parser of a parameter; None where it is not a plain one, and stays Typer's."""
        described, info = param.type_descriptor, param.type_descriptor.parameter_info
        kind: Any = described.annotation
        if get_origin(kind) is list:
            (kind,) = get_args(kind)
        plain = kind in cls._WORDS and info.parser is None and info.max is None and not info.exists
        return cls(kind, info.min) if plain else None

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
        return known


def _plain_params(params: list[Any]) -> list[Any]:
    """The parameters, read by `_Plain` where it can, and flags without `<bool>` in the help."""
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
        # Where Typer looks for the parser that it would else make. Should it look elsewhere one day, it is only slower.
        param._runtime_param = param._runtime_param or _Plain.of(param)
    return params


class Command(TyperCommand):
    """A command with the common options and the user's colours."""

    def __init__(self, name: str | None, **rest: Any) -> None:
        super().__init__(name, **rest)
        self.params = [*self.params, *_common_params()]

    def invoke(self, ctx: Any) -> Any:
        self.prepare(run_of(ctx))
        return super().invoke(ctx)

    def prepare(self, run: Run) -> None:
        run.choose_color()

    def get_params(self, ctx: Any) -> list[Any]:
        return _plain_params(super().get_params(ctx))


class Examination(Command):
    """A command that a wrong setting does not stop, since it is to tell of it."""

    def prepare(self, run: Run) -> None:
        with suppress(CgcliError):
            run.choose_color()


class Group(TyperGroup):
    """A group of commands with the common options."""

    def __init__(self, **rest: Any) -> None:
        super().__init__(**rest)
        self.params = [*self.params, *_common_params()]

    def get_params(self, ctx: Any) -> list[Any]:
        return _plain_params(super().get_params(ctx))
