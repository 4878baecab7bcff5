"""What a command is: a function with typed arguments. Its docstring's first line is its line in `/help`.

    @command(TURN, WORDS.optional)
    def edit(repl: Repl, index: int, words: str | None) -> None: ...

Its words are taken apart here, and every way that it can be wrong ends in one line that says what would be right.
"""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cgcli.core.config import nearest
from cgcli.core.errors import UsageError
from cgcli.repl.state import Repl

Offer = tuple[str, str]
"""A word that can stand here, and a word on it."""


@dataclass(frozen=True)
class Argument:
    """One argument. name: as in the usage; read: a word into a value, raises UsageError; offer: words to complete one
    that begins so, and perhaps others.

    unsaid: not in the usage; whole: takes the rest of the line as it is typed; many: takes the words that are left.
    """

    name: str
    read: Callable[[Repl, str], Any] = lambda _, word: word
    offer: Callable[[Repl, str], Iterable[Offer]] = lambda _repl, _typed: ()
    is_optional: bool = False
    unsaid: bool = False
    whole: bool = False
    many: bool = False

    @property
    def optional(self) -> Argument:
        """The same, for commands that do without; they get None then."""
        return replace(self, is_optional=True)

    def __str__(self) -> str:
        return f"[{self.name}]" if self.is_optional else self.name


@dataclass(frozen=True)
class Command:
    """A command: `/name` and its arguments. forms: first words that make another thing of it, and what they do."""

    name: str
    arguments: tuple[Argument, ...]
    run: Callable[..., None]
    forms: Mapping[str, str] = field(default_factory=dict)

    @property
    def usage(self) -> str:
        return " ".join([f"/{self.name}", *(str(one) for one in self.arguments if not one.unsaid)])

    @property
    def summary(self) -> str:
        return self.help.partition("\n")[0]

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Its lines in `/help`: how it is typed, and what it does."""
        forms = ((f"/{self.name} {word}", about) for word, about in self.forms.items())
        return [(self.usage, self.summary), *forms]

    @property
    def help(self) -> str:
        return inspect.getdoc(self.run) or ""

    def values(self, repl: Repl, line: str) -> Iterator[Any]:
        """A value for each argument, from what stands behind the command's name. Raises UsageError."""
        words = self._words(line)
        for argument in self.arguments:
            if argument.many:
                yield tuple(words)
                words = []
            elif words:
                yield argument.read(repl, words.pop(0))
            elif argument.is_optional:
                yield None
            else:
                raise UsageError(f"/{self.name} needs {argument.name}: {self.usage}", hint=f"/help {self.name}")
        if words:
            raise UsageError(f"too much for {self.usage}: {' '.join(words)}", hint=f"/help {self.name}")

    def _words(self, line: str) -> list[str]:
        """As a shell takes them apart, or up to a last one that is the whole rest. Raises UsageError."""
        if self.arguments and self.arguments[-1].whole:
            return line.strip().split(maxsplit=len(self.arguments) - 1)
        try:
            return shlex.split(line)
        except ValueError as error:
            raise UsageError(f"{line.strip()}: {str(error).lower()}", hint=f"/help {self.name}") from None


COMMANDS: dict[str, Command] = {}
"""By name, in the order of `/help`; filled by `cgcli.repl.commands`."""


def command(
    *arguments: Argument, forms: Mapping[str, str] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A function becomes the command of its name."""

    def register(run: Callable[..., None]) -> Callable[..., None]:
        name = run.__name__.rstrip("_")
        COMMANDS[name] = Command(name, arguments, run, forms or {})
        return run

    return register


def find(name: str) -> Command:
    """The command of that name. Raises UsageError with the nearest one."""
    if not name:
        raise UsageError("no command stands behind the /", hint="/help")
    if name not in COMMANDS:
        raise UsageError(f"no command /{name}{nearest(f'/{name}', (f'/{one}' for one in COMMANDS))}", hint="/help")
    return COMMANDS[name]
