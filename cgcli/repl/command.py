"""REPL commands: functions with typed arguments, registered with `@command`.

    @command(TURN, WORDS.optional)
    def edit(repl: Repl, index: int, words: str | None) -> None: ...

The first line of the docstring is the command's summary in `/help`; `/help NAME` shows the rest. Arguments are parsed
and completed here. A wrong one raises a UsageError that shows the right usage.
"""

from __future__ import annotations

import inspect
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgcli.core.config import nearest
from cgcli.core.errors import UsageError
from cgcli.core.paths import expanded
from cgcli.repl.state import KEYS, PATHS, Repl, words_of

if TYPE_CHECKING:
    from cgcli.program.export import Format

Offer = tuple[str, str]
"""A word that completes an argument, and a description."""


@dataclass(frozen=True)
class Argument:
    """An argument of a command."""

    name: str  # as shown in the usage
    read: Callable[[Repl, str], Any] = lambda _, word: word  # parses a word; raises UsageError
    #: Completions, given the words typed so far, of which the last is to be completed; may include others.
    offer: Callable[[Repl, Sequence[str]], Iterable[Offer]] = lambda _repl, _typed: ()
    is_optional: bool = False
    hidden: bool = False  # not shown in the usage
    rest: bool = False  # takes the rest of the line, unparsed
    many: bool = False  # takes all words that are left

    @property
    def optional(self) -> Argument:
        """A copy that may be omitted; the command then gets None."""
        return replace(self, is_optional=True)

    def __str__(self) -> str:
        return f"[{self.name}]" if self.is_optional else self.name


@dataclass(frozen=True)
class ReplCommand:
    """A command: `/name` and its arguments."""

    name: str
    arguments: tuple[Argument, ...]
    run: Callable[..., None]
    forms: Mapping[str, str] = field(default_factory=dict)  # variants with a line of their own in /help

    @property
    def usage(self) -> str:
        return " ".join([f"/{self.name}", *(str(one) for one in self.arguments if not one.hidden)])

    @property
    def summary(self) -> str:
        return self.help.partition("\n")[0]

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Usage and summary of each line in `/help`."""
        forms = ((f"/{self.name} {word}", about) for word, about in self.forms.items())
        return [(self.usage, self.summary), *forms]

    @property
    def help(self) -> str:
        return inspect.getdoc(self.run) or ""

    def values(self, repl: Repl, line: str) -> Iterator[Any]:
        """Parse the text after the command's name: one value per argument. Raises UsageError."""
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
                raise UsageError(f"/{self.name} needs {argument.name}", hint=f"usage: {self.usage}")
        if words:
            raise UsageError(f"too many arguments for /{self.name}: {' '.join(words)}", hint=f"usage: {self.usage}")

    def _words(self, line: str) -> list[str]:
        """Split the line like a shell; a `rest` argument gets what is left, unparsed. Raises UsageError."""
        if self.arguments and self.arguments[-1].rest:
            return line.strip().split(maxsplit=len(self.arguments) - 1)
        try:
            return shlex.split(line)
        except ValueError as error:
            raise UsageError(f"cannot parse {line.strip()}: {str(error).lower()}", hint=f"/help {self.name}") from None


COMMANDS: dict[str, ReplCommand] = {}
"""Commands by name, in the order of `/help`; filled by `cgcli.repl.commands`."""
ALIASES: dict[str, str] = {}
"""Other names that a command answers to; neither listed nor completed."""


def command(
    *arguments: Argument, forms: Mapping[str, str] | None = None, alias: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as the command of its name."""

    def register(run: Callable[..., None]) -> Callable[..., None]:
        name = run.__name__.rstrip("_")
        COMMANDS[name] = ReplCommand(name, arguments, run, forms or {})
        if alias:
            ALIASES[alias] = name
        return run

    return register


def find(name: str) -> ReplCommand:
    """Return the command with this name or alias. Raises UsageError with the nearest name."""
    if not name:
        raise UsageError("no command given after /", hint="/help lists the commands")
    found = COMMANDS.get(ALIASES.get(name, name))
    if found is None:
        near = nearest(f"/{name}", (f"/{one}" for one in COMMANDS))
        raise UsageError(f"unknown command /{name}{near}", hint="/help lists the commands")
    return found


# --- parsing and completing arguments


def positive_integer(word: str, name: str) -> int:
    """Parse a positive integer. Raises UsageError."""
    try:
        number = int(word)
    except ValueError:
        number = 0
    if number < 1:
        raise UsageError(f"{name} must be a number from 1, not {word!r}")
    return number


def turn_index(repl: Repl, word: str) -> int:
    """Parse the number of a turn, from 1; returns its index, from 0. Raises UsageError."""
    number, turns = positive_integer(word, "turn"), len(repl.program.turns)
    if number > turns:
        raise UsageError(
            f"no turn {number}: {f'the last is {turns}' if turns else 'the program has no turns yet'}", hint="/show"
        )
    return number - 1


def _turns(repl: Repl, _typed: Sequence[str]) -> Iterator[Offer]:
    for number, turn in enumerate(repl.program.turns, 1):
        yield str(number), turn.prompt or ""


def _candidate(repl: Repl, word: str) -> int:
    return candidate_index(repl, _drawn(repl), positive_integer(word, "candidate") - 1)


def candidate_index(repl: Repl, turn: int | None, index: int) -> int:
    """The index of a candidate, if the turn has it. Raises UsageError."""
    count = 0 if turn is None else len(repl.program.turns[turn].candidates)
    if turn is None or index >= count:
        found = "the program has no turns yet" if turn is None else f"turn {turn + 1} has {count}"
        raise UsageError(f"no candidate {index + 1}: {found}", hint="/show" if turn is None else f"/show {turn + 1}")
    return index


def _candidates(repl: Repl, _typed: Sequence[str]) -> Iterator[Offer]:
    turn = _drawn(repl)
    for number, one in enumerate(() if turn is None else repl.program.turns[turn].candidates, 1):
        yield str(number), one.text.partition("\n")[0]


def _drawn(repl: Repl) -> int | None:
    """Index of the turn whose candidates are meant: the one drawn last, else the last one."""
    drawn = repl.history.drawn
    return len(repl.program.turns) - 1 if drawn is None and repl.program.turns else drawn


def _one_of(words: Iterable[str]) -> Callable[[Repl, str], str]:
    """Return a parser that accepts only these words."""
    known = list(words)

    def read(repl: Repl, word: str) -> str:
        if word not in known:
            raise UsageError(f"unknown word {word!r}{nearest(word, known)}", hint=f"use {' or '.join(known)}")
        return word

    return read


def _each(words: Callable[[Repl], Iterable[str]]) -> Callable[[Repl, Sequence[str]], Iterator[Offer]]:
    return lambda repl, _typed: ((word, "") for word in words(repl))


def _file(repl: Repl, word: str) -> Path:
    """Parse a path, relative to the REPL's folder. Raises UsageError for an invalid name."""
    try:
        path = repl.folder / Path(word).expanduser()  # a name that is nobody's is a slip, and no file to write
        os.fsencode(path)
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"invalid file name: {word}: {error}") from None
    if "\0" in word:
        raise UsageError(f"invalid file name: {word}")
    return path


def _files(repl: Repl, typed: Sequence[str]) -> Iterator[Offer]:
    """The files and folders in the folder that was typed; hidden ones only after a dot."""
    name = typed[-1].rpartition("/")[2]
    folder = typed[-1].removesuffix(name)
    try:
        found = sorted((repl.folder / expanded(folder)).iterdir())
    except (OSError, RuntimeError, ValueError):
        return
    for path in found:
        if name or not path.name.startswith("."):
            yield folder + path.name + "/" * path.is_dir(), ""


def _form(_repl: Repl, word: str) -> Format:
    from cgcli.program.export import find_format

    return find_format(word)


def _forms(_repl: Repl, _typed: Sequence[str]) -> Iterator[Offer]:
    from cgcli.program.export import FORMATS

    yield from ((name, form.about) for name, form in FORMATS.items())


def _settings(repl: Repl, _typed: Sequence[str]) -> Iterator[Offer]:
    yield from ((key, repl.options.as_text(key)) for key in KEYS)


def _values(repl: Repl, typed: Sequence[str]) -> Iterator[Offer]:
    key, *values = typed
    if key in PATHS:
        yield from (("off", "close it"), *_files(repl, typed))
    elif len(values) == 1:
        yield from ((word, "") for word in words_of(key))


def _commands(_repl: Repl, _typed: Sequence[str]) -> Iterator[Offer]:
    yield from ((name, one.summary) for name, one in COMMANDS.items())


def _command(_repl: Repl, word: str) -> ReplCommand:
    return find(word.lstrip("/"))


TURN = Argument("N", turn_index, _turns)
PLACE = Argument("M", turn_index, _turns)
SHOWN = Argument(
    "N", lambda repl, word: word if word in ("all", "vars") else turn_index(repl, word),
    lambda repl, typed: [*_turns(repl, typed), ("all", "the whole program"), ("vars", "what the last run left")],
)  # fmt: skip
CANDIDATE = Argument("I", lambda _, word: positive_integer(word, "candidate") - 1, _candidates)
CANDIDATE_OR_FOLD = Argument(
    "I", lambda repl, word: word if word == "fold" else _candidate(repl, word),
    lambda repl, typed: [*_candidates(repl, typed), ("fold", "what the model skips of a long program")],
)  # fmt: skip
COUNT = Argument("K", lambda _, word: positive_integer(word, "candidates"))
LINE = Argument("LINE", lambda _, word: positive_integer(word, "line"))
SEED = Argument("N")
FILE = Argument("FILE", _file, _files)
OVER = Argument("over", _one_of(["over"]), _each(lambda _: ["over"]), hidden=True)
FORMAT = Argument("FORMAT", _form, _forms)
BRANCH = Argument("NAME", offer=_each(lambda repl: repl.history.branches))
NEW_NAME = Argument("NAME")
MODEL = Argument("NAME", offer=_each(lambda repl: repl.models.names()))
KEY = Argument("KEY", offer=_settings)
VALUE = Argument("VALUE", offer=_values, rest=True)
ON_OFF = Argument("on|off", _one_of(["on", "off"]), _each(lambda _: ["on", "off"]))
NAME = Argument("NAME", _command, _commands)
WORDS = Argument("WORDS", rest=True)
TEXT = Argument("TEXT", rest=True)
ALTERNATIVES = Argument("A | B", rest=True)
ARGS = Argument("ARGS", offer=_each(lambda _: ["all"]), many=True, is_optional=True)
