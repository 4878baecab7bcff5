"""What a REPL is made of: the program on disk, the model, the options, the reader and the screen; and the few things
that every command does with them.

Commands are functions of this (`cgcli.repl.commands`); nothing here prints for itself but notes about what it did.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cgcli.core.errors import UsageError
from cgcli.core.progress import Progress, Silent
from cgcli.core.reading import read_if_possible
from cgcli.program.history import Commit, Event, History, Point, Saved, Setting
from cgcli.program.languages import Language, language
from cgcli.program.program import Program, new_program
from cgcli.repl.loader import Loader
from cgcli.repl.opening import open_file
from cgcli.repl.options import KEYS, Options

if TYPE_CHECKING:
    from cgcli.engine.protocol import Engine
    from cgcli.hub.choose import Choice
    from cgcli.program.folding import Fold
    from cgcli.program.generation import Generation
    from cgcli.program.journal import Journal
    from cgcli.program.program_store import ProgramStore
    from cgcli.program.session import Reading, Session
    from cgcli.repl.reader import Reader
    from cgcli.repl.screen import Screen


class Models(Protocol):
    """Where models come from."""

    def choose(self, name: str | None) -> Choice:
        """The model called so; the one of the settings for None. Raises ModelNotFound and others of its kind."""
        ...

    def open(self, choice: Choice, cancelled: Callable[[], bool]) -> Engine:
        """Load it. Called on another thread; nothing may be shown. cancelled: whether nobody wants it any more.

        Raises ModelFileError, UsageError, CgcliError, Interrupted.
        """
        ...

    def names(self) -> Iterable[str]:
        """What can be chosen."""
        ...


@dataclass
class Repl:
    """One REPL. choice: the model; folder: what file names are relative to; script: nobody watches, so code is not
    shown while it comes.

    opened: what a new journal is to say first; changed: called when the model is loaded, on another thread; reading: of
    the last prompt; fold: the last one; ended: whether to leave; turn: the number of the turn that a prompt is typed
    for, where it is not the next one; asked: tokens of all contexts that were asked for; stale: turns that were last
    said to be; again: a prompt that came to nothing, for the next line; notes: what is to be said when nobody types,
    which other threads may add to; given: settings that were asked for when it was started.
    """

    programs: ProgramStore
    journal: Journal
    models: Models
    choice: Choice
    options: Options
    reader: Reader
    screen: Screen
    folder: Path
    progress: Progress = field(default_factory=Silent)
    script: bool = False
    opened: Saved | None = None
    changed: Callable[[], None] = lambda: None
    reading: Reading | None = None
    fold: Fold | None = None
    ended: bool = False
    turn: int | None = None
    asked: int = 0
    stale: tuple[int, ...] = ()
    again: str = ""
    notes: deque[str] = field(default_factory=deque)
    given: frozenset[str] = frozenset()
    loader: Loader = field(init=False)
    _session: Session | None = None

    def __post_init__(self) -> None:
        self.loader = self._new_loader()
        self._own_colour = self.screen.colour
        self._set: dict[str, str] = {}  # by commands, here or in the session that goes on
        self._recall()

    @property
    def history(self) -> History:
        return self.journal.history

    @property
    def known_file(self) -> Saved | None:
        """Where the program came from or was last saved, and what that file held then."""
        return self.opened or self.history.saved

    @property
    def known_bytes(self) -> bytes:
        """What that file holds now; nothing where there is none."""
        return read_if_possible(Path(self.known_file.path)) if self.known_file else b""

    @property
    def program(self) -> Program:
        return self.history.program

    @property
    def language(self) -> Language:
        return language(self.journal.language)

    def do(self, event: Event) -> None:
        """Let it happen, and keep it. Raises CgcliError where the disk says no: it has happened all the same."""
        opened, self.opened = self.opened, None
        self.journal.append(*([opened] if opened else []), *self._unwritten(), event)
        if isinstance(event, Commit | Point) and self.reading and not self._is_of_the_last_drawn(self.reading):
            self.reading = self.fold = None  # undone, dropped, on another branch

    def _is_of_the_last_drawn(self, reading: Reading) -> bool:
        index, plan = self.history.drawn, reading.plan
        if index is None or self.program.turns[index].prompt != plan.prompt:
            return False
        return self.program.until(index).source() == plan.program.source()

    def session(self) -> Session:
        """The session with the model, as soon as that is loaded. Raises what loading raised, Interrupted."""
        if self.loader.loading:
            self.screen.note(f"waiting for {self.choice.name}")
        engine = self.loader.wait()
        self.tell_notes()
        from cgcli.program.session import Session

        if self._session is None or self._session.engine is not engine:
            generation = self.generation()
            self._session = Session(engine, self.program, generation, model=self.choice.name, progress=self.progress)
        self._session.generation, self._session.language = self.generation(), self.journal.language
        self._session.fold = self.options.settings.fold == "on"
        return self._session

    def tell_notes(self) -> None:
        """Say what was noted while nobody could be told."""
        while self.notes:
            self.screen.note(self.notes.popleft())

    def generation(self) -> Generation:
        """How turns are drawn, by the options, the model's card and the language."""
        from cgcli.program.generation import Generation

        options = self.options
        return Generation.of(options.settings, self.choice.card, self.language.rules, candidates=options.candidates)

    def use(self, choice: Choice) -> None:
        """Load another model, or the same one again, from now on."""
        self.loader.close()
        self.choice, self._session = choice, None
        self.reading = self.fold = None
        self.loader = self._new_loader()
        self.loader.start()

    def open(self, path: Path) -> None:
        """Go on with the program of a file (see `open_file`). Raises CgcliError; the program stays then."""
        self.journal.flush()
        self._take(*open_file(self.programs, path, self.options.settings, self.choice))
        self._recall()

    def clear(self) -> None:
        """A new program in the same language. Raises CgcliError where the former one could not be kept; it stays."""
        self.journal.flush()
        code = self.language
        self._take(self.programs.new(new_program(code, self.options.settings, self.choice.card), code.name), None)

    def set(self, key: str, text: str) -> None:
        """Change an option; it is the session's, and comes back with it. Raises UsageError, CgcliError like `do`."""
        self.options = self.options.told(key, text)
        color = self.options.settings.color
        self.screen.colour = self._own_colour if color == "auto" else color == "always"
        self._set[key] = self.options.shown(key)
        if self.journal.id:  # else with the first event: a program in which nothing was done leaves no trace
            self.journal.append(*self._unwritten())

    def _unwritten(self) -> list[Event]:
        """What was set, and the journal does not know."""
        return [Setting(key, value) for key, value in self._set.items() if self.history.settings.get(key) != value]

    def _recall(self) -> None:
        """Set what was set in the session that goes on; what was asked for at the start stands."""
        back = []
        for key, value in tuple(self.history.settings.items()):
            if key in self.given or key in self._set:
                self._set[key] = self.options.shown(key)
            elif key == "unsafe":
                if value == "on" and not self.options.unsafe:
                    self.notes.append("unsafe is off again: /set unsafe on")
            elif key in KEYS and self.options.shown(key) != value:
                try:
                    self.set(key, value)
                except UsageError as error:  # another version of cgcli wrote it
                    self.notes.append(f"{error.line}: not set again")
                else:
                    back.append(f"{key} {value}")
        if back:
            self.notes.append(f"set again: {', '.join(back)}")

    def close(self) -> None:
        """Give back the model, and the program's file; Ctrl-C does not keep it from that."""
        from cgcli.native.interrupt import interruptible

        with interruptible(patient=True):
            try:
                self.loader.close()
            finally:
                self.journal.close()

    def _take(self, journal: Journal, opened: Saved | None) -> None:
        self.journal.close()
        self.journal, self.opened = journal, opened
        self.screen.language = journal.language
        self.reading = self.fold = None
        self.stale = ()

    def _new_loader(self) -> Loader:
        return Loader(functools.partial(self.models.open, self.choice), self.changed)
