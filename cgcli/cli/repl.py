"""`cgcli repl`: a program that prompts build, on a terminal or from a script. Makes the parts, and starts the loop."""

from __future__ import annotations

import hashlib
import io
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cgcli.app.run import Run, given_settings
from cgcli.cli.command import run_of, settings_of
from cgcli.cli.options import (
    SAMPLING_PANEL,
    DraftOption,
    ExactOption,
    FoldOption,
    GpuLayersOption,
    MaxTokensOption,
    MinPOption,
    ModelOption,
    SeedOption,
    TemperatureOption,
    ThreadsOption,
    TopKOption,
    TopPOption,
    WindowOption,
)

if TYPE_CHECKING:
    from cgcli.core.config import Settings
    from cgcli.engine.protocol import Engine
    from cgcli.hub.choose import Choice
    from cgcli.program.history import Saved
    from cgcli.program.journal import Journal
    from cgcli.program.program_store import ProgramStore
    from cgcli.repl.glance import Glance
    from cgcli.repl.reader import Reader
    from cgcli.repl.screen import Screen
    from cgcli.repl.state import Repl


def repl(
    ctx: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE|ID", help="A program to go on with; with --resume the ID of a session."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the session ID, or with the last one.")] = False,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Let /run run programs on this machine as it is, without a sandbox.")
    ] = False,
    model: ModelOption = None,
    ctx_tokens: WindowOption = None,
    threads: ThreadsOption = None,
    gpu_layers: GpuLayersOption = None,
    draft: DraftOption = None,
    exact: ExactOption = None,
    fold: FoldOption = None,
    candidates: Annotated[
        int | None,
        typer.Option(
            "-n",
            "--candidates",
            metavar="N",
            min=1,
            help="Draw N completions a turn, to choose from.",
            show_default="1",
            rich_help_panel=SAMPLING_PANEL,
        ),
    ] = None,
    temperature: TemperatureOption = None,
    top_p: TopPOption = None,
    top_k: TopKOption = None,
    min_p: MinPOption = None,
    max_tokens: MaxTokensOption = None,
    seed: SeedOption = None,
) -> int:
    """Build a program prompt by prompt: see it written, run it, take it back.

    [dim]cgcli repl
    cgcli repl prog.py
    cgcli repl --resume
    cgcli repl < prompts.txt > prog.py[/dim]
    """
    run = run_of(ctx)
    own = {"candidates": candidates, "unsafe": unsafe or None}
    given = given_settings(ctx.params).keys() | {name for name, value in own.items() if value is not None}
    return start(
        run,
        settings_of(ctx),
        given=frozenset(given),
        file=None if resume else file,
        resume=(str(file) if file else "") if resume else None,
        unsafe=unsafe,
        candidates=candidates or 1,
    )


def start(
    run: Run,
    settings: Settings,
    *,
    file: Path | None = None,
    resume: str | None = None,
    unsafe: bool = False,
    candidates: int = 1,
    given: frozenset[str] = frozenset(),
) -> int:
    """Run a REPL to its end; returns the exit status. resume: the id of a session, empty for the last one.

    given: the settings that the user asked for, which stand where a session that goes on had others.

    Raises ModelNotFound, CgcliError where the program cannot be opened.
    """
    from cgcli.app.model import choose_model
    from cgcli.program.program_store import ProgramStore
    from cgcli.program.source import for_file
    from cgcli.repl.glance import Glance
    from cgcli.repl.loop import loop
    from cgcli.repl.options import Options
    from cgcli.repl.state import Repl

    choice = choose_model(run, settings)
    programs = ProgramStore(run.environment.data / "programs")
    journal, opened = _program(programs, settings, choice, file, resume)
    new = not journal.id
    if settings.seed is None:
        settings = replace(settings, seed=_seed(journal))
    script = not is_interactive(run)
    view = Glance()
    screen = _screen(run, script, journal.language)
    one = view.repl = Repl(
        programs,
        journal,
        _Models(run, settings),
        choice,
        Options(settings, candidates, unsafe),
        _reader(run, script, view, screen),
        screen,
        Path.cwd(),
        run.output.progress(),
        script,
        opened,
        view.changed,
        given=given,
    )
    with nullcontext() if script else _at_a_terminal(run, one):
        try:
            one.loader.start()
            status = loop(one, debug=run.debug)
            if script or not run.output.stdout_is_terminal:
                run.output.write(for_file(one.program.source(), one.known_bytes))
        finally:
            one.close()
    if script and new and one.journal is journal and journal.id and one.history.saved in (None, opened):
        programs.remove(journal.id)  # the program is on stdout, and the script can be run again
    _say_goodbye(one)
    return status if script else 0


def is_interactive(run: Run) -> bool:
    """Whether a person types, and sees what comes."""
    return (
        sys.stdin is not None
        and sys.stdin.isatty()
        and (run.output.stdout_is_terminal or run.output.stderr_is_terminal)
    )


class _Models:
    """The models of the store, opened as the settings say."""

    def __init__(self, run: Run, settings: Settings) -> None:
        self._run = run
        self._settings = settings

    def choose(self, name: str | None) -> Choice:
        from cgcli.app.model import choose_model

        return choose_model(self._run, replace(self._settings, model=name))

    def open(self, choice: Choice, cancelled: Callable[[], bool]) -> Engine:
        from cgcli.app.model import open_engine
        from cgcli.native.interrupt import Interrupt

        engine = open_engine(self._run, self._settings, choice, Interrupt(), cancelled=cancelled)
        engine.reserve(engine.window)
        return engine

    def names(self) -> Iterable[str]:
        from cgcli.cli.complete import pulled

        return pulled("")


def _program(
    programs: ProgramStore, settings: Settings, choice: Choice, file: Path | None, resume: str | None
) -> tuple[Journal, Saved | None]:
    from cgcli.core.errors import UsageError
    from cgcli.program.languages import PYTHON
    from cgcli.program.program import new_program
    from cgcli.repl.opening import open_file

    if file is not None:
        return open_file(programs, file, settings, choice)
    if resume is None:
        return programs.new(new_program(PYTHON, settings, choice.card), PYTHON.name), None
    journal = programs.open(resume) if resume else programs.latest()
    if journal is None:
        raise UsageError("there is no session to resume", hint="cgcli repl")
    return journal, None


def _seed(journal: Journal) -> int:
    """The one under which the last turn was drawn; a new one where there is none."""
    drawn = [turn.facts.seed for turn in journal.history.program.turns if turn.facts]
    return drawn[-1] if drawn else secrets.randbits(32)


@contextmanager
def _at_a_terminal(run: Run, one: Repl) -> Iterator[None]:
    """What is noted while the model loads waits for the end of the line that somebody types meanwhile."""
    run.output.aside = one.notes.append
    try:
        yield
    finally:
        run.output.aside = None
        one.tell_notes()


def _screen(run: Run, script: bool, language: str) -> Screen:
    """On stdout where a person sees it there; the program of a script comes there, so that all else is on stderr."""
    from cgcli.repl.screen import Screen

    if not script and run.output.stdout_is_terminal:
        return Screen(sys.stdout, colour=run.output.stdout_color, language=language, above=run.output.above)
    return Screen(
        run.output.stderr,
        colour=run.output.stderr_color,
        language=language,
        quiet=script and run.output.quiet,
        above=run.output.above,
    )


def _reader(run: Run, script: bool, view: Glance, screen: Screen) -> Reader:
    if script:
        from cgcli.repl.script import Script

        return Script(io.BytesIO() if sys.stdin is None else sys.stdin.buffer)
    from cgcli.repl.terminal import terminal_reader

    out = sys.stdout if run.output.stdout_is_terminal else sys.stderr
    folder = Path.cwd()
    known_as = f"{folder.name}-{hashlib.blake2b(bytes(folder), digest_size=4).hexdigest()}"
    history = run.environment.data / "history" / known_as
    return terminal_reader(view, screen, sys.stdin, out, history=history, variables=run.variables)


def _say_goodbye(one: Repl) -> None:
    if not one.script and one.history.unsaved:
        file = one.known_file
        where = f"{Path(file.path).name} is not saved" if file else "kept, in no file yet"
        one.screen.note(f"{where}: cgcli repl --resume {one.journal.id}")
