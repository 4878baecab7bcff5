"""One run of the command line: its environment, output and settings. Made once and passed down."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

from cgcli.terminal.output import Output

if TYPE_CHECKING:
    from cgcli.core.config import Environment, Settings


class _Closed(io.RawIOBase):
    """A stdout that was closed before the start. Writing to it is an error."""

    def write(self, data: object) -> int:
        raise OSError(errno.EBADF, "stdout is closed")


class Run:
    """One run of the command line."""

    def __init__(self, stdout: BinaryIO, stderr: TextIO, variables: Mapping[str, str]) -> None:
        self.variables = variables
        self.output = Output(stdout, stderr, variables)
        self.debug = False  # show tracebacks
        self.arguments: tuple[str, ...] = ()  # the command line, without `cgcli`

    @classmethod
    def from_process(cls) -> Run:
        """The run of this process. A stderr that was closed before the start swallows everything; a closed stdout
        raises, since the program would be lost otherwise."""
        stdout = cast(BinaryIO, _Closed()) if sys.stdout is None else sys.stdout.buffer
        stderr = io.StringIO() if sys.stderr is None else sys.stderr
        return cls(stdout, stderr, os.environ)

    @cached_property
    def environment(self) -> Environment:
        from cgcli.core.config import Environment

        return Environment.from_process(self.variables)

    def enable_verbose(self) -> None:
        """-v: details, and llama.cpp's warnings."""
        self.output.verbose = True
        self._listen("WARNING")

    def enable_debug(self) -> None:
        """--debug: tracebacks, and all of llama.cpp's log."""
        self.debug = self.output.verbose = True
        self._listen("DEBUG")

    def _listen(self, level: str) -> None:
        import logging

        class Details(logging.Handler):
            def emit(handler, record: logging.LogRecord) -> None:
                self.output.detail(record.getMessage())

        logger = logging.getLogger("cgcli")
        logger.setLevel(level)
        logger.handlers = [Details()]

    def begin(self) -> None:
        """Warn of variables without effect, and choose the colors. Raises UsageError for a wrong setting."""
        from cgcli.core.config import unknown_variables

        for line in unknown_variables(self.environment):
            self.output.note(line)
        self.choose_color()

    def choose_color(self) -> None:
        """Use the `color` setting. Raises UsageError for a wrong one."""
        from cgcli.core.config import Settings

        self.output.color = Settings.load(self.environment, only="color").color

    def settings(self, parameters: Mapping[str, object] | None = None) -> Settings:
        """The settings of this run. Raises UsageError for a wrong one.

        parameters: of a command; settings among them take precedence, then those of its template.
        """
        from cgcli.core.config import Settings

        parameters = parameters or {}
        template = parameters.get("template")
        return Settings.load(
            self.environment, given_settings(parameters), template=template if isinstance(template, str) else None
        )


def given_settings(parameters: Mapping[str, object]) -> dict[str, object]:
    """The settings that a command was given. The parameter of `ctx` is called `ctx_tokens`, beside Typer's `ctx`."""
    from cgcli.core.config import RULES

    named = {name: parameters.get("ctx_tokens" if name == "ctx" else name) for name in RULES}
    if isinstance(named["serve"], bool):  # --serve, --no-serve
        named["serve"] = "on" if named["serve"] else "off"
    return {name: value for name, value in named.items() if value is not None}
