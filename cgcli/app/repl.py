"""Starts a REPL on a terminal or from a script: opens the program, builds the parts and runs the loop."""

from __future__ import annotations

import hashlib
import io
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgcli.app.run import Run

if TYPE_CHECKING:
    from cgcli.core.config import Settings
    from cgcli.engine.kept_ngrams import DraftText
    from cgcli.engine.protocol import Engine
    from cgcli.hub.choose import Choice
    from cgcli.program.history import Saved
    from cgcli.program.journal import Journal
    from cgcli.program.program import Setup
    from cgcli.program.program_store import ProgramStore
    from cgcli.repl.reader import Reader
    from cgcli.repl.screen import Screen
    from cgcli.repl.state import Repl


def start_repl(
    run: Run,
    settings: Settings,
    *,
    file: Path | None = None,
    resume: str | None = None,
    own: Mapping[str, Any] | None = None,
    flags: frozenset[str] = frozenset(),
) -> int:
    """Run a REPL to its end; returns the exit status.

    own: values of the REPL's own options. resume: the id of a session, empty for the last one. flags: names of the
    options that were given on the command line, which a resumed session does not change.

    Raises ModelNotFound, CgcliError if the program cannot be opened.
    """
    from cgcli.app.draft_texts import draft_texts
    from cgcli.app.offer import choose_or_pull
    from cgcli.program.program_store import ProgramStore
    from cgcli.program.source import for_file
    from cgcli.repl.loop import loop
    from cgcli.repl.state import Options, Repl, Ui

    options = Options(settings, **own or {})
    options.check()
    choice = choose_or_pull(run, settings)
    programs = ProgramStore(run.environment.data / "programs")
    journal, opened = _program(programs, settings, choice, file, resume)
    changed = None
    if resume is not None and "model" not in flags:
        choice, changed = _last_model(run, settings, choice, journal)
    new = not journal.id
    state = SavedState(programs.folder, journal.id)
    if settings.seed is None:
        settings = replace(settings, seed=_seed(journal))
    script = not is_interactive(run)
    screen = _screen(run, script, journal.language)
    reader = _reader(run, script, screen)
    repl = Repl(
        programs=programs,
        journal=journal,
        models=_Models(run, settings, state, draft_texts(run, settings, file)),
        choice=choice,
        options=replace(options, settings=settings),
        ui=Ui(
            reader=reader, screen=screen, progress=run.output.progress(), clipboard=run.output.clipboard, script=script
        ),
        folder=Path.cwd(),
        opened=opened,
        flags=flags,
    )
    if changed:
        repl.ui.notes.append(changed)
    with nullcontext() if script else _notes_between_lines(run, repl):
        try:
            repl.loader.start()
            status = loop(repl, debug=run.debug)
            if script or not run.output.stdout_is_terminal:
                run.output.write(for_file(repl.program.source(), repl.known_bytes))
            if not script:
                state.save(repl)
        finally:
            repl.close()
    if script and new and repl.journal is journal and journal.id and repl.history.saved in (None, opened):
        programs.remove(journal.id)  # the program is on stdout, and the script can be run again
    _report_unsaved(repl)
    return status if script else 0


def is_interactive(run: Run) -> bool:
    """Whether a person types and sees the output."""
    return (
        sys.stdin is not None
        and sys.stdin.isatty()
        and (run.output.stdout_is_terminal or run.output.stderr_is_terminal)
    )


class SavedState:
    """What the model has read of the program that was left last, so that resuming it does not read it again.

    One file beside the program's journal; another program's replaces it. Errors only cost reading the program again.
    """

    _SUFFIX = ".state"
    _SECONDS = 0.8  # that saving may take, when the user leaves

    def __init__(self, folder: Path, resumed: str) -> None:
        """resumed: the id of the session that is resumed, or empty."""
        self._folder = folder
        self._resumed = resumed

    def load(self, engine: Engine, choice: Choice) -> None:
        """Load the state of the resumed session into the cache, if it was saved by this model."""
        from cgcli.core.errors import CgcliError
        from cgcli.engine.engine import LlamaEngine

        path = self._path(self._resumed)
        if not self._resumed or not path.exists() or not isinstance(engine, LlamaEngine):
            return
        try:
            engine.load_state(path, model=choice.sha256 or "")
        except CgcliError:
            with suppress(OSError):
                path.unlink()

    def save(self, repl: Repl) -> None:
        """Save the state of the program that is left, in place of the last one."""
        from cgcli.core.errors import CgcliError
        from cgcli.native.interrupt import interruptible
        from cgcli.program.source import encode

        engine, model, name = repl.loader.engine, repl.choice.sha256, repl.journal.id
        if engine is None or not name:
            return
        from cgcli.engine.engine import LlamaEngine  # it is imported already if a model is loaded

        with interruptible(patient=True), suppress(CgcliError, OSError):
            for path in self._folder.glob(f"*{self._SUFFIX}"):
                path.unlink()
            if model and isinstance(engine, LlamaEngine):
                text = encode(repl.program.source())
                engine.save_state(text, self._path(name), model=model, seconds=self._SECONDS)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{self._SUFFIX}"


class _Models:
    """The models of the store, loaded with the settings of this run."""

    def __init__(self, run: Run, settings: Settings, state: SavedState, texts: Sequence[DraftText]) -> None:
        """texts: to guess from, besides the program."""
        self._texts = texts
        self._run = run
        self._settings = settings
        self._state = state

    def choose(self, name: str | None) -> Choice:
        from cgcli.app.model import choose_model

        return choose_model(self._run, replace(self._settings, model=name))

    def open(self, choice: Choice, cancelled: Callable[[], bool]) -> Engine:
        from cgcli.app.model import Use, open_engine
        from cgcli.native.interrupt import Interrupt

        engine = open_engine(self._run, self._settings, choice, Interrupt(), Use(texts=self._texts), cancelled)
        engine.reserve(engine.window)
        self._state.load(engine, choice)
        return engine

    def setup(self, choice: Choice, engine: Engine) -> Setup | None:
        from cgcli.app.model import setup_of
        from cgcli.engine.engine import LlamaEngine  # it is imported already if a model is loaded

        return setup_of(self._settings, choice, engine) if isinstance(engine, LlamaEngine) else None

    def names(self) -> Iterable[str]:
        from cgcli.core.errors import CgcliError
        from cgcli.hub.store import open_store

        try:
            return list(dict.fromkeys(one.name for one in open_store(self._run.environment).all()))
        except (CgcliError, OSError):  # completion has nothing to offer then
            return []


def _program(
    programs: ProgramStore, settings: Settings, choice: Choice, file: Path | None, resume: str | None
) -> tuple[Journal, Saved | None]:
    from cgcli.core.errors import UsageError
    from cgcli.program.languages import PYTHON
    from cgcli.program.program import new_program
    from cgcli.repl.state import open_file

    if file is not None:
        return open_file(programs, file, settings, choice)
    if resume is None:
        return programs.new(new_program(PYTHON, settings, choice.card), PYTHON.name), None
    journal = programs.open(resume) if resume else programs.latest()
    if journal is None:
        raise UsageError("no session to resume", hint="cgcli repl")
    return journal, None


def _last_model(run: Run, settings: Settings, choice: Choice, journal: Journal) -> tuple[Choice, str | None]:
    """The model of the session's last turn; `choice`, and a note that says so, if it is not here any more."""
    from cgcli.app.model import choose_model
    from cgcli.core.errors import CgcliError

    drawn = [turn.facts for turn in journal.history.program.turns if turn.facts]
    if not drawn or (drawn[-1].model, drawn[-1].quant) == (choice.name, choice.quant or drawn[-1].quant):
        return choice, None
    name = f"{drawn[-1].model}:{drawn[-1].quant}" if drawn[-1].quant else drawn[-1].model
    try:
        return choose_model(run, replace(settings, model=name)), None
    except CgcliError:
        return choice, f"{name}, which wrote this session, is not here; {choice.name} goes on with it"


def _seed(journal: Journal) -> int:
    """The seed of the last turn, else a random one."""
    drawn = [turn.facts.seed for turn in journal.history.program.turns if turn.facts]
    return drawn[-1] if drawn else secrets.randbits(32)


@contextmanager
def _notes_between_lines(run: Run, repl: Repl) -> Iterator[None]:
    """Keep notes from the loading thread back until the line that is being typed ends."""
    run.output.notes_to = repl.ui.notes.append
    try:
        yield
    finally:
        run.output.notes_to = None
        repl.ui.show_notes()


def _screen(run: Run, script: bool, language: str) -> Screen:
    """A screen on stdout if a person sees it there; else on stderr, since a script's program goes to stdout."""
    from cgcli.repl.screen import Screen

    if not script and run.output.stdout_is_terminal:
        return Screen(sys.stdout, color=run.output.stdout_color, language=language, above=run.output.above)
    return Screen(
        run.output.stderr,
        color=run.output.stderr_color,
        language=language,
        quiet=script and run.output.quiet,
        above=run.output.above,
    )


def _reader(run: Run, script: bool, screen: Screen) -> Reader:
    if script:
        from cgcli.repl.plain_terminal import Script

        return Script(io.BytesIO() if sys.stdin is None else sys.stdin.buffer)
    from cgcli.repl.terminal import terminal_reader

    out = sys.stdout if run.output.stdout_is_terminal else sys.stderr
    folder = Path.cwd()
    name = f"{folder.name}-{hashlib.blake2b(bytes(folder), digest_size=4).hexdigest()}"
    history = run.environment.data / "history" / name  # one for each folder
    return terminal_reader(screen, sys.stdin, out, history=history, variables=run.variables)


def _report_unsaved(repl: Repl) -> None:
    if not repl.ui.script and repl.history.unsaved:
        file = repl.known_file
        state = f"{Path(file.path).name} has unsaved changes" if file else "the program is not saved to a file"
        repl.ui.screen.note(f"{state}; to continue: cgcli repl --resume {repl.journal.id}")
