"""The kinds of arguments that commands take: how a word becomes a value, and what can be completed to one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.core.config import nearest
from cgcli.core.errors import UsageError
from cgcli.repl.command import COMMANDS, Argument, Command, Offer, find
from cgcli.repl.options import KEYS
from cgcli.repl.state import Repl

if TYPE_CHECKING:
    from cgcli.program.export import Format


def whole_number(word: str, name: str, least: int = 1) -> int:
    """A number of that name. Raises UsageError."""
    try:
        number = int(word)
    except ValueError:
        number = least - 1
    if number < least:
        raise UsageError(f"{name} is {word!r}, not a whole number from {least}")
    return number


def turn_index(repl: Repl, word: str) -> int:
    """The index of the turn of that number. Raises UsageError."""
    number, turns = whole_number(word, "turn"), len(repl.program.turns)
    if number > turns:
        there = f"the last is {turns}" if turns else "there is none yet"
        raise UsageError(f"no turn {number}, {there}", hint="/show")
    return number - 1


def _turns(repl: Repl, _typed: str) -> Iterator[Offer]:
    for number, turn in enumerate(repl.program.turns, 1):
        yield str(number), turn.prompt or ""


def _candidate(repl: Repl, word: str) -> int:
    turn = _drawn(repl)
    number = whole_number(word, "candidate")
    if turn is None or number > len(repl.program.turns[turn].candidates):
        count = 0 if turn is None else len(repl.program.turns[turn].candidates)
        there = "there is no turn yet" if turn is None else f"turn {turn + 1} has {count}"
        raise UsageError(f"no candidate {number}, {there}", hint="/show")
    return number - 1


def _candidates(repl: Repl, _typed: str) -> Iterator[Offer]:
    turn = _drawn(repl)
    for number, one in enumerate(() if turn is None else repl.program.turns[turn].candidates, 1):
        yield str(number), one.text.partition("\n")[0]


def _drawn(repl: Repl) -> int | None:
    """The index of the turn whose candidates are meant."""
    drawn = repl.history.drawn
    return len(repl.program.turns) - 1 if drawn is None and repl.program.turns else drawn


def _one_of(what: str, words: Callable[[Repl], Iterable[str]]) -> Callable[[Repl, str], str]:
    """Reads one of `words`; the error names the nearest."""

    def read(repl: Repl, word: str) -> str:
        known = list(words(repl))
        if word not in known:
            raise UsageError(f"{what} is {word!r}{nearest(word, known)}", hint=f"one of: {', '.join(known)}")
        return word

    return read


def _each(words: Callable[[Repl], Iterable[str]]) -> Callable[[Repl, str], Iterator[Offer]]:
    return lambda repl, _typed: ((word, "") for word in words(repl))


def _file(repl: Repl, word: str) -> Path:
    """Raises UsageError for what can be no file's name."""
    try:
        path = repl.folder / Path(word).expanduser()
        os.fsencode(path)
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"no file can be called {word}: {error}") from None
    if "\0" in word:
        raise UsageError(f"no file can be called {word}")
    return path


def _files(repl: Repl, typed: str) -> Iterator[Offer]:
    """Files and folders whose names begin so."""
    name = typed.rpartition("/")[2]
    folder = typed.removesuffix(name)
    try:
        found = sorted((repl.folder / Path(folder).expanduser()).iterdir())
    except (OSError, RuntimeError, ValueError):
        return
    for path in found:
        if name or not path.name.startswith("."):
            yield folder + path.name + "/" * path.is_dir(), ""


def _form(_repl: Repl, word: str) -> Format:
    from cgcli.program.export import find_format

    return find_format(word)


def _forms(_repl: Repl, _typed: str) -> Iterator[Offer]:
    from cgcli.program.export import FORMATS

    yield from ((name, form.about) for name, form in FORMATS.items())


def _settings(repl: Repl, _typed: str) -> Iterator[Offer]:
    yield from ((key, repl.options.shown(key)) for key in KEYS)


def _commands(_repl: Repl, _typed: str) -> Iterator[Offer]:
    yield from ((name, one.summary) for name, one in COMMANDS.items())


def _command(_repl: Repl, word: str) -> Command:
    return find(word.lstrip("/"))


TURN = Argument("N", turn_index, _turns)
PLACE = Argument("M", turn_index, _turns)
TURN_OR_ALL = Argument(
    "N", lambda repl, word: word if word == "all" else turn_index(repl, word),
    lambda repl, typed: [*_turns(repl, typed), ("all", "the whole program")],
)  # fmt: skip
CANDIDATE = Argument("I", _candidate, _candidates)
CANDIDATE_OR_FOLD = Argument(
    "I", lambda repl, word: word if word == "fold" else _candidate(repl, word),
    lambda repl, typed: [*_candidates(repl, typed), ("fold", "what the model was not given")],
)  # fmt: skip
COUNT = Argument("K", lambda _, word: whole_number(word, "candidates"))
LINE = Argument("LINE", lambda _, word: whole_number(word, "line"))
SEED = Argument("N")
FILE = Argument("FILE", _file, _files)
OVER = Argument("over", _one_of("the word behind FILE", lambda _: ["over"]), _each(lambda _: ["over"]), unsaid=True)
FORMAT = Argument("FORMAT", _form, _forms)
BRANCH = Argument("NAME", offer=_each(lambda repl: repl.history.branches))
NEW_NAME = Argument("NAME")
MODEL = Argument("NAME", offer=_each(lambda repl: repl.models.names()))
KEY = Argument("KEY", offer=_settings)
VALUE = Argument("VALUE", whole=True)
ON_OFF = Argument("on|off", _one_of("the switch", lambda _: ["on", "off"]), _each(lambda _: ["on", "off"]))
NAME = Argument("NAME", _command, _commands)
WORDS = Argument("WORDS", whole=True)
ALTERNATIVES = Argument("A | B", whole=True)
ARGS = Argument("ARGS", offer=_each(lambda _: ["all"]), many=True, is_optional=True)
