"""What the terminal's toolbar and completion see of a REPL: asked at every key, so it keeps what takes time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from cgcli.core.errors import CgcliError
from cgcli.program.program import Program
from cgcli.program.score import clarity
from cgcli.program.source import encode
from cgcli.repl.command import COMMANDS
from cgcli.repl.python import names
from cgcli.repl.quoting import quoted, unfinished
from cgcli.repl.state import Repl
from cgcli.repl.view import Status, Suggestion


class Glance:
    """The View of a REPL, which is given before anything is asked."""

    repl: Repl

    def __init__(self) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self._counted: tuple[Program, object, int] | None = None
        self._stale: tuple[Program, int] | None = None
        self._named: tuple[Program, list[str]] | None = None

    def changed(self) -> None:
        """Tell whoever shows it, who may have come after those that call this."""
        self.on_change()

    @property
    def vi(self) -> bool:
        return self.repl.options.vi

    def status(self) -> Status:
        repl = self.repl
        engine, program, reading = repl.loader.engine, repl.program, repl.reading
        last = program.turns[-1].facts if program.turns else None
        perplexity = reading.perplexity if reading else last.prompt_perplexity if last else None
        return Status(
            model=repl.choice.name,
            quant=engine.quant if engine else repl.choice.quant or "",
            turn=repl.turn or len(program.turns) + 1,
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
        """Commands and their arguments behind a `/`, else names that the program defines."""
        if before_cursor.startswith("/") and not before_cursor.startswith("//"):
            yield from self._of_command(before_cursor)
        else:
            yield from self._names(before_cursor)

    def _of_command(self, typed: str) -> Iterator[Suggestion]:
        name, blank, rest = typed[1:].partition(" ")
        if not blank:
            yield from (
                Suggestion(f"/{one.name}", 0, one.summary) for one in COMMANDS.values() if one.name.startswith(name)
            )
            return
        if name not in COMMANDS:
            return
        arguments = COMMANDS[name].arguments
        given, begin, word = unfinished(rest)
        if given < len(arguments):
            for text, about in arguments[given].offer(self.repl, word):
                if text.startswith(word) and text != word:
                    yield Suggestion(quoted(text), len(typed) - len(rest) + begin, " ".join(about.split()))

    def _names(self, typed: str) -> Iterator[Suggestion]:
        found = re.search(r"[^\W\d]\w*$", typed)
        program = self.repl.program
        if not found or self.repl.language.name != "python":
            return
        word = found[0]
        if self._named is None or self._named[0] is not program:
            self._named = program, sorted(names(program))
        for name in self._named[1]:
            if name.startswith(word) and name != word:
                yield Suggestion(name, len(typed) - len(word))

    def _count_stale(self) -> int:
        program = self.repl.program
        if self._stale is None or self._stale[0] is not program:
            self._stale = program, len(program.stale())
        return self._stale[1]

    def _tokens(self) -> int:
        """Of the program; those of one that is too long to be counted are the window's."""
        engine, program = self.repl.loader.engine, self.repl.program
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
