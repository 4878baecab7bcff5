"""The toolbar's values and the completions of a REPL. Computed at every key, so slow parts are cached."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from cgcli.core.errors import CgcliError
from cgcli.program.languages import parse_python
from cgcli.program.program import Program
from cgcli.program.score import clarity
from cgcli.program.source import encode
from cgcli.repl.command import COMMANDS
from cgcli.repl.reader import Status, Suggestion, is_command
from cgcli.repl.state import Repl


class StatusBar:
    """The View of a REPL."""

    def __init__(self, repl: Repl, *, turn: int | None = None) -> None:
        """turn: the number to show, from 1; None: that of the next turn."""
        self._repl = repl
        self._turn = turn
        self._counted: tuple[Program, object, int] | None = None
        self._stale: tuple[Program, int] | None = None
        self._names: tuple[Program, list[str]] | None = None

    @property
    def vi(self) -> bool:
        return self._repl.options.vi

    def status(self) -> Status:
        repl = self._repl
        engine, program, reading = repl.loader.engine, repl.program, repl.last.reading
        facts = program.turns[-1].facts if program.turns else None
        perplexity = reading.perplexity if reading else facts.prompt_perplexity if facts else None
        return Status(
            model=repl.choice.name,
            quant=engine.quant if engine else repl.choice.quant or "",
            turn=self._turn or len(program.turns) + 1,
            tokens=min(self._tokens(), reading.plan.tokens) if reading and reading.plan.fold else self._tokens(),
            window=engine.window if engine else 0,
            tokens_per_s=(engine.timings.tokens_per_s or None) if engine else None,
            clarity=clarity(perplexity, repl.choice.card) or "",
            perplexity=perplexity,
            branch="" if repl.history.branch == "main" else repl.history.branch,
            state="loading…" if repl.loader.loading else "" if engine else "not loaded",
            stale=self._count_stale(),
        )

    def completions(self, before_cursor: str) -> Iterator[Suggestion]:
        """Commands and their arguments after a `/`, else names that the program defines."""
        if is_command(before_cursor):
            yield from self._command_completions(before_cursor)
        else:
            yield from self._name_completions(before_cursor)

    def _command_completions(self, typed: str) -> Iterator[Suggestion]:
        name, blank, rest = typed[1:].partition(" ")
        if not blank:
            yield from (
                Suggestion(f"/{one.name}", 0, one.summary) for one in COMMANDS.values() if one.name.startswith(name)
            )
            return
        if name not in COMMANDS:
            return
        arguments = COMMANDS[name].arguments
        before, start, word = last_word(rest)
        at = len(before)
        if arguments and arguments[-1].rest:  # it takes all other words
            at = min(at, len(arguments) - 1)
        if at < len(arguments):
            for text, about in arguments[at].offer(self._repl, (*before, word)):
                if text.startswith(word) and text != word:
                    yield Suggestion(shell_quoted(text), len(typed) - len(rest) + start, " ".join(about.split()))

    def _name_completions(self, typed: str) -> Iterator[Suggestion]:
        found = re.search(r"[^\W\d]\w*$", typed)
        program = self._repl.program
        if not found or self._repl.language.name != "python":
            return
        word = found[0]
        if self._names is None or self._names[0] is not program:
            self._names = program, sorted(defined_names(program))
        for name in self._names[1]:
            if name.startswith(word) and name != word:
                yield Suggestion(name, len(typed) - len(word))

    def _count_stale(self) -> int:
        program = self._repl.program
        if self._stale is None or self._stale[0] is not program:
            self._stale = program, len(program.stale())
        return self._stale[1]

    def _tokens(self) -> int:
        """Tokens of the program; the whole window if it is too long to count."""
        engine, program = self._repl.loader.engine, self._repl.program
        if engine is None:
            return 0
        if self._counted is None or self._counted[0] is not program or self._counted[1] is not engine:
            text = encode(program.source())
            try:
                count = engine.count(text) if text else 0
            except CgcliError:
                count = engine.window
            self._counted = program, engine, count
        return self._counted[2]


# --- names of a program


def defined_names(program: Program) -> set[str]:
    """The names that a Python program defines; a turn that does not parse contributes none."""
    parts = [program.prefix, *(turn.completion for turn in program.turns)]
    return {name for part in parts if (tree := parse_python(part)) for name in _definitions(tree)}


def _definitions(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name
            case ast.alias(name=name, asname=asname):
                yield (asname or name).partition(".")[0]


# --- words of a line, quoted like a shell


class LastWord(NamedTuple):
    """The last word of an unfinished line."""

    before: list[str]  # the words before it
    start: int  # its position in the line
    word: str  # without quotes; may be empty


def last_word(line: str) -> LastWord:
    """Split off the last word of a line, whose quotes may still be open. After a blank it is empty."""
    for at in (at for at in range(len(line), 0, -1) if line[at - 1].isspace()):
        try:
            return LastWord(shlex.split(line[: at - 1]), at, _unquoted(line[at:]))
        except ValueError:  # this blank is inside quotes
            continue
    return LastWord([], 0, _unquoted(line))


def _unquoted(word: str) -> str:
    for closed in (word, word.removesuffix("\\"), word + "'", word + '"'):
        try:
            return "".join(shlex.split(closed))
        except ValueError:
            continue
    return word


def shell_quoted(word: str) -> str:
    """Quote a word if it needs it; `~/` stays outside the quotes."""
    home = "~/" * word.startswith("~/")
    rest = word.removeprefix(home)
    return home + (shlex.quote(rest) if rest else "")
