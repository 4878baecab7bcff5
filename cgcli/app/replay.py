"""What `cgcli replay` does: draw a program's turns again as they were drawn, and compare."""

from __future__ import annotations

import itertools
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.app.model import choose_model, loaded_engine, setup_of
from cgcli.app.written import find_program, find_run
from cgcli.core.errors import CgcliError, Interrupted, UsageError
from cgcli.terminal.text import plural

if TYPE_CHECKING:
    from cgcli.app.run import Run
    from cgcli.core.config import Settings
    from cgcli.engine.protocol import Engine
    from cgcli.hub.choose import Choice
    from cgcli.program.conditions import Difference
    from cgcli.program.program import Setup, Turn, TurnFacts
    from cgcli.program.recorded import Recorded
    from cgcli.program.session import Session

_DIGITS = 40  # of a run's number; no log has that many

Step = tuple["Recorded", int]
"""A turn: a program, and the index of the turn in it."""


def replay(run: Run, name: str) -> None:
    """Draw the turns of a file or a run again.

    Raises CgcliError at the first that differs, with the name of the first condition that differs, if one does; before
    anything is drawn, if another model's file would draw.
    """
    from cgcli.program.redraw import check_record, why_not

    steps: list[Step] = []
    is_number = name.isdecimal() and not os.path.exists(name)  # noqa: PTH110 - also of names that are too long
    for part in find_run(run, int(name[:_DIGITS])) if is_number else find_program(run, Path(name)):
        for index in range(len(part.program.turns)):
            if why := why_not(part.program, index):
                run.output.note(f"{_name(part, index)} {why}; it is taken as it is")
                continue
            try:
                check_record(part.program.turns[index])
            except UsageError as error:
                raise CgcliError(f"the record of {_name(part, index)} is damaged: {error.message}") from error
            steps.append((part, index))
    if not steps:
        raise CgcliError(f"no turn of {name} can be replayed", hint="cgcli log lists the runs")
    for _, group in itertools.groupby(steps, key=_drawn_by):
        _Replay(run, list(group)).draw()
    run.output.note(f"the same, byte for byte: {plural(len(steps), 'turn')}")


def _name(part: Recorded, index: int) -> str:
    prompt = part.program.turns[index].prompt
    return f"turn {index + 1} of {part.where}" + (f" ({prompt!r:.60})" if prompt else "")


def _facts(step: Step) -> TurnFacts:
    part, index = step
    facts = part.program.turns[index].facts
    assert facts  # `why_not`
    return facts


def _drawn_by(step: Step) -> tuple[str, Setup | None]:
    """What to load for a turn."""
    facts = _facts(step)
    return f"{facts.model}:{facts.quant}", facts.setup


class _Replay:
    """Turns that one setup drew."""

    def __init__(self, run: Run, steps: Sequence[Step]) -> None:
        self._run = run
        self._steps = steps
        self._first = _facts(steps[0])
        self._known: list[Difference] = []

    def draw(self) -> None:
        """Draw them again. Raises CgcliError at the first that differs."""
        settings = self._settings()
        choice = choose_model(self._run, settings)
        self._tell(self._differences(choice))
        progress = self._run.output.progress()
        with (
            loaded_engine(self._run, settings, choice) as engine,
            progress.task("writing again", len(self._steps), unit="steps") as task,
        ):
            setup = setup_of(settings, choice, engine)
            self._tell(self._differences(choice, engine.quant, setup))
            for _, group in itertools.groupby(self._steps, key=lambda one: id(one[0])):
                part, *_ = steps = list(group)
                session = self._session(engine, choice, part[0], setup)
                session.reserve([one.program.turns[index].prompt for one, index in steps])
                for one, index in steps:
                    self._redraw(session, one, index)
                    task.advance(1)

    def _settings(self) -> Settings:
        """The settings that load what drew the turns. Raises UsageError for values that cgcli does not take."""
        facts, setup = self._first, self._first.setup
        stored = f"{facts.model}:{facts.quant}"
        if setup is None:
            return self._run.settings({"model": stored, "serve": "off"})
        return self._run.settings(
            {
                "model": setup.file or stored,
                "ctx_tokens": setup.window,
                "threads": setup.threads,
                "gpu_layers": setup.gpu_layers,
                "draft": setup.draft,
                "exact": setup.exact,
                "serve": "off",  # what a server has read before changes the last bits
            }
        )

    def _differences(self, choice: Choice, quant: str = "", setup: Setup | None = None) -> Iterator[Difference]:
        """What differs now: before the model is loaded, or with what it was loaded to."""
        from cgcli import __version__
        from cgcli.app.model import file_identity
        from cgcli.core.machine import processor_name
        from cgcli.program.conditions import differences

        then = self._first
        if then.setup and not setup:
            setup = replace(then.setup, sha256=file_identity(choice), cgcli=__version__, processor=processor_name())
        python = platform.python_version() if then.guard else ""
        now = replace(then, quant=quant or then.quant, guard=python, setup=setup if then.setup else None)
        yield from differences(then, now)

    def _tell(self, found: Iterator[Difference]) -> None:
        """Say what differs. Raises CgcliError if another model's file would draw."""
        for one in found:
            if one.name == "the model's file":
                raise CgcliError(str(one), hint="nothing was written; replay needs the model file of then")
            if one not in self._known:
                self._known.append(one)
                self._run.output.note(str(one))

    def _session(self, engine: Engine, choice: Choice, part: Recorded, setup: Setup) -> Session:
        from cgcli.program.redraw import generation_of
        from cgcli.program.session import Session

        how = generation_of(self._first, part.program, part.language)
        session = Session(engine, part.program, how, model=choice.name, language=part.language)
        session.setup = setup
        return session

    def _redraw(self, session: Session, part: Recorded, index: int) -> None:
        from cgcli.program.redraw import Redraw
        from cgcli.program.session import drain

        turn, session.program = part.program.turns[index], part.program.until(index)
        session.start = turn.start
        drawn = drain(session.add(turn.prompt, draw=Redraw(session, turn).draw))
        if drawn.interrupted:
            raise Interrupted
        now = session.program.turns[-1].completion if drawn.accepted is not None else ""
        if now != turn.completion:
            raise CgcliError(f"{_name(part, index)} differs{_where(turn, now)}", hint=self._why())

    def _why(self) -> str:
        if self._known:
            return str(self._known[0])
        setup = self._first.setup
        if setup and setup.exact:
            return "nothing that is known differs"
        return "write with --exact: without it, what else is in a batch can change a text"


def _where(turn: Turn, now: str) -> str:
    """The first line that differs, then and now."""
    lines = itertools.zip_longest(turn.completion.split("\n"), now.split("\n"))
    for number, (was, line) in enumerate(lines, 1):
        if was != line:
            shown = ("nothing" if one is None else repr(one)[:60] for one in (was, line))
            return " in line {} of its code: it was {}, and is {}".format(number, *shown)
    return ""
