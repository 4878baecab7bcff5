"""The state of a REPL: the program on disk, the model, the options, and facts about the last turn.

Commands (`cgcli.repl.commands`) are functions of a `Repl`. Its methods print nothing but notes.
"""

from __future__ import annotations

import functools
import math
import shlex
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cgcli.core.config import CANDIDATES, NATURAL, RULES, SWITCH, TEMPERATURE, Rule, Settings, nearest, one_of
from cgcli.core.errors import UsageError
from cgcli.core.paths import expanded
from cgcli.core.progress import Progress, Silent
from cgcli.core.reading import read_if_possible, read_if_present
from cgcli.program import languages
from cgcli.program.history import Commit, Event, History, Point, Saved, Setting
from cgcli.program.languages import Language, language, language_of
from cgcli.program.program import Layout, Program, new_program
from cgcli.program.source import digest, from_file
from cgcli.repl.loader import Loader
from cgcli.terminal.clipboard import Clipboard, find_clipboard

if TYPE_CHECKING:
    from cgcli.engine.protocol import Engine
    from cgcli.hub.choose import Choice
    from cgcli.program.folding import Fold
    from cgcli.program.generation import Generation
    from cgcli.program.journal import Journal
    from cgcli.program.program import Setup
    from cgcli.program.program_store import ProgramStore
    from cgcli.program.session import Reading, Session
    from cgcli.repl.reader import Reader
    from cgcli.repl.screen import Screen
    from cgcli.sandbox.pick import PickRule
    from cgcli.sandbox.policy import Policy
    from cgcli.sandbox.verdict import Variable

_OWN: dict[str, Rule] = {
    "candidates": CANDIDATES,
    "pick": one_of("auto", "tests", "run", "reviewer", "probable"),
    "unsafe": SWITCH,
    "auto": SWITCH,
    "until": one_of("runs", "off"),
    "tries": NATURAL,
    "try_time": Rule(float, "a positive number of seconds", lambda s: 0 < s < math.inf),
    "vi": SWITCH,
}
PATHS = ("read", "write")
"""Options that are lists of paths."""
KEYS = ("temperature", "top_p", "top_k", "min_p", "max_tokens", "seed", "candidates", "pick", "guard", "fold", "unsafe",
        "read", "write", "auto", "until", "tries", "try_time", "vi", "color")  # fmt: skip
"""The options of `/set`: settings of the command line, and the REPL's own."""


def words_of(key: str) -> tuple[str, ...]:
    """The words to choose from for one of KEYS; none for one that is a number, a path or unknown."""
    rule = (RULES | _OWN).get(key)
    return rule.words if rule and key in KEYS else ()


@dataclass(frozen=True)
class Options:
    """The values of KEYS; they apply from the next prompt on."""

    settings: Settings  # always with a seed
    candidates: int = 1  # drawn for each prompt
    pick: PickRule = "auto"  # how one of several candidates is picked
    unsafe: bool = False  # run programs without a sandbox
    read: tuple[Path, ...] = ()  # files and folders that programs may read
    write: tuple[Path, ...] = ()  # likewise, and they may change these
    auto: bool = False  # run the program after each turn
    until: str = "off"  # runs: draw each turn again until the program runs with it
    tries: int = 4  # of a turn with `until`
    try_time: float = 20.0  # seconds for them
    vi: bool = False  # vi key bindings

    @property
    def policy(self) -> Policy:
        """The permissions of programs that run."""
        from cgcli.sandbox.policy import Policy

        return Policy(unsafe=self.unsafe, read=self.read, write=self.write)

    def check(self) -> None:
        """Raises UsageError for values that no option may have."""
        CANDIDATES.of_value(self.candidates, "-n")
        if self.read or self.write:
            from cgcli.sandbox.opened import check_paths

            check_paths((*self.read, *self.write))

    def with_text(self, key: str, text: str) -> Options:
        """A copy with one of KEYS parsed from text. Raises UsageError."""
        if key not in KEYS:
            raise UsageError(f"unknown setting {key}{nearest(key, KEYS)}", hint="/set lists the settings")
        if key in PATHS:
            found = replace(self, **{key: () if text == "off" else tuple(Path(word) for word in _words(text))})  # type: ignore[arg-type]
            found.check()
            return found
        if key in _OWN:
            return replace(self, **{key: _OWN[key].of_text(text, key)})  # type: ignore[arg-type]
        return replace(self, settings=self.settings.with_text(key, text))

    def as_text(self, key: str) -> str:
        """The value of one of KEYS, as `with_text` parses it."""
        if key in PATHS:
            return shlex.join(map(str, getattr(self, key))) or "off"
        value = getattr(self if key in _OWN else self.settings, key)
        if key == "temperature" and value is None:
            value = TEMPERATURE
        return ("off", "on")[value] if isinstance(value, bool) else str(value)


def _words(text: str) -> list[str]:
    try:
        return [str(expanded(word)) for word in shlex.split(text)]
    except (ValueError, RuntimeError) as error:
        message = f"cannot read the paths {text}: {str(error).lower()}"
        raise UsageError(message, hint="quote them as in a shell") from None


class Models(Protocol):
    """Where models come from."""

    def choose(self, name: str | None) -> Choice:
        """The model with this name; None: the one of the settings. Raises ModelNotFound and similar errors."""
        ...

    def open(self, choice: Choice, cancelled: Callable[[], bool]) -> Engine:
        """Load a model. Runs on another thread, so it must not print. Stops once `cancelled` returns True.

        Raises ModelFileError, UsageError, CgcliError, Interrupted.
        """
        ...

    def setup(self, choice: Choice, engine: Engine) -> Setup | None:
        """What draws turns now, for their facts; None if it is unknown."""
        ...

    def names(self) -> Iterable[str]:
        """The models to choose from."""
        ...


@dataclass(frozen=True, kw_only=True)
class Ui:
    """Where a REPL reads from and writes to."""

    reader: Reader
    screen: Screen
    progress: Progress = field(default_factory=Silent)
    clipboard: Callable[[], Clipboard] = lambda: find_clipboard({}, None)  # raises CgcliError if there is none
    script: bool = False  # not interactive: nobody can be asked, and code is not streamed
    notes: deque[str] = field(default_factory=deque)  # shown before the next prompt; any thread may append

    def show_notes(self) -> None:
        while self.notes:
            self.screen.note(self.notes.popleft())


@dataclass
class LastTurn:
    """Facts about the last turn, for the gauge, `/why` and `/diff fold`."""

    reading: Reading | None = None  # scores of its prompt; None if the turn is gone, or the model changed
    fold: Fold | None = None  # what the model skipped of the program
    stale: tuple[int, ...] = ()  # turns that were last reported as stale

    def forget_reading(self) -> None:
        self.reading = self.fold = None


@dataclass(kw_only=True)
class Repl:
    """A REPL.

    Commands may read everything. They change the program with `do`, `open` or `clear`, an option with `set` and the
    model with `use`; `last`, `next_line`, `start`, `ended`, `tokens_given`, `variables` and
    `unseen` are theirs to set.
    """

    programs: ProgramStore
    journal: Journal
    models: Models
    choice: Choice  # the model
    options: Options
    ui: Ui
    folder: Path  # file names are relative to it
    opened: Saved | None = None  # the file that a new program came from; the first event of its journal
    flags: frozenset[str] = frozenset()  # options of the command line, which a resumed session does not change
    last: LastTurn = field(default_factory=LastTurn)
    next_line: str = ""  # what the next input line starts with
    start: str = ""  # what the code of the next turn starts with
    ended: bool = False  # leave after this command
    tokens_given: int = 0  # tokens of all contexts, cached or not
    variables: tuple[str, tuple[Variable, ...]] | None = (
        None  # digest of what /run ran last, and what it had at its end
    )
    unseen: set[str] = field(default_factory=set)  # digests of programs that only ran as candidates
    loader: Loader = field(init=False)
    _session: Session | None = None

    def __post_init__(self) -> None:
        self.loader = self._new_loader()
        self._screen_color = self.ui.screen.color
        self._set: dict[str, str] = {}  # options that were set, here or before the session was resumed
        self._restore_options()

    @property
    def history(self) -> History:
        return self.journal.history

    @property
    def known_file(self) -> Saved | None:
        """The file that the program was opened from or last saved to, and its content then."""
        return self.opened or self.history.saved

    @property
    def known_bytes(self) -> bytes:
        """What that file contains now; empty if there is none."""
        return read_if_possible(Path(self.known_file.path)) if self.known_file else b""

    @property
    def program(self) -> Program:
        return self.history.program

    @property
    def language(self) -> Language:
        return language(self.journal.language)

    @property
    def broken_turn(self) -> int | None:
        """The index of the first turn with which a Python program no longer parses."""
        return languages.broken_turn(self.program) if self.language.name == "python" else None

    def do(self, event: Event) -> None:
        """Apply an event and write it to the journal. Raises CgcliError if it cannot be written; it is applied then."""
        opened, self.opened = self.opened, None
        self.journal.append(*([opened] if opened else []), *self._unwritten_options(), event)
        reading = self.last.reading
        if isinstance(event, Commit | Point) and reading and not self._is_of_the_last_drawn(reading):
            self.last.forget_reading()  # the turn was undone or dropped, or is on another branch

    def _is_of_the_last_drawn(self, reading: Reading) -> bool:
        index, plan = self.history.drawn, reading.plan
        if index is None or self.program.turns[index].prompt != plan.prompt:
            return False
        return self.program.until(index).source() == plan.program.source()

    def session(self) -> Session:
        """The session, with the model loaded. Raises what loading raised, and Interrupted."""
        if self.loader.loading:
            self.ui.screen.note(f"waiting for {self.choice.name} to load")
        engine = self.loader.wait()
        self.ui.show_notes()
        from cgcli.program.session import Session

        if self._session is None or self._session.engine is not engine:
            generation, progress = self.generation(), self.ui.progress
            self._session = Session(engine, self.program, generation, model=self.choice.name, progress=progress)
            self._session.setup = self.models.setup(self.choice, engine)
        self._session.generation, self._session.language = self.generation(), self.journal.language
        self._session.fold = self.options.settings.fold == "on"
        return self._session

    def generation(self) -> Generation:
        """How turns are drawn, from the options, the model's card and the language."""
        from cgcli.program.generation import Generation

        options = self.options
        return Generation.of(options.settings, self.choice.card, self.language.rules, candidates=options.candidates)

    def use(self, choice: Choice) -> None:
        """Load another model, or the same one again."""
        self.loader.close()
        self.choice, self._session = choice, None
        self.last.forget_reading()
        self.loader = self._new_loader()
        self.loader.start()

    def open(self, path: Path) -> None:
        """Switch to the program of a file (see `open_file`). Raises CgcliError and changes nothing then."""
        self.journal.flush()
        self._switch_to(*open_file(self.programs, path, self.options.settings, self.choice))
        self._restore_options()

    def clear(self) -> None:
        """Start a new program in the same language. Raises CgcliError and changes nothing if the disk fails."""
        self.journal.flush()
        code = self.language
        self._switch_to(self.programs.new(new_program(code, self.options.settings, self.choice.card), code.name), None)

    def set(self, key: str, text: str) -> None:
        """Change an option, here and for `--resume`. Raises UsageError; CgcliError like `do`."""
        options = self.options.with_text(key, text)
        if key == "until" and options.until != "off" and self.language.name != "python":
            raise UsageError(f"only Python programs can be run, not {self.language.name}")
        self.options = options
        color = self.options.settings.color
        self.ui.screen.color = self._screen_color if color == "auto" else color == "always"
        self._set[key] = self.options.as_text(key)
        if self.journal.id:  # else with the first event: a session in which nothing was done leaves no trace
            self.journal.append(*self._unwritten_options())

    def _unwritten_options(self) -> list[Event]:
        return [Setting(key, value) for key, value in self._set.items() if self.history.settings.get(key) != value]

    def _restore_options(self) -> None:
        """Restore the options of a resumed session, unless a flag set them now."""
        restored = []
        for key, value in tuple(self.history.settings.items()):
            if key in self.flags or key in self._set:
                self._set[key] = self.options.as_text(key)
            elif key == "unsafe":
                if value == "on" and not self.options.unsafe:
                    self.ui.notes.append("the sandbox is on again: /set unsafe on turns it off")
            elif key in PATHS:
                if value not in ("off", self.options.as_text(key)):
                    self.ui.notes.append(f"programs cannot {key} {value} again: /set {key} {value} opens it")
            elif key in KEYS and self.options.as_text(key) != value:
                try:
                    self.set(key, value)
                except UsageError as error:  # another version of cgcli wrote it
                    self.ui.notes.append(f"setting not restored: {error.line}")
                else:
                    restored.append(f"{key} {value}")
        if restored:
            self.ui.notes.append(f"restored settings: {', '.join(restored)}")

    def close(self) -> None:
        """Free the model and release the program's file, even if Ctrl-C is pressed meanwhile."""
        from cgcli.native.interrupt import interruptible

        with interruptible(patient=True):
            try:
                self.loader.close()
            finally:
                self.journal.close()

    def _switch_to(self, journal: Journal, opened: Saved | None) -> None:
        self.journal.close()
        self.journal, self.opened = journal, opened
        self.ui.screen.language = journal.language
        self.last, self.variables = LastTurn(), None

    def _new_loader(self) -> Loader:
        return Loader(functools.partial(self.models.open, self.choice), self.ui.reader.refresh)


def open_file(programs: ProgramStore, path: Path, settings: Settings, choice: Choice) -> tuple[Journal, Saved | None]:
    """Open the program of a file; for a new journal also its first event: the file, and its content.

    If a session last saved exactly this text there, its journal is reopened. Otherwise the text becomes the prefix of
    a new program, and the journal's note names the session that once saved the file. A missing file counts as empty.
    Raises CgcliError.
    """
    text = from_file(read_if_present(path))
    journal = programs.of_file(path, text)
    if journal is not None:
        return journal, None
    code = language_of(path)
    program = Program(text, layout=Layout(code.mark)) if text else new_program(code, settings, choice.card)
    new = programs.new(program, code.name)
    if text and (former := programs.saved_to(path)):
        new.note = f"the file changed since session {former} saved it; its turns: cgcli repl --resume {former}"
    return new, Saved(str(path.resolve()), digest(text))
