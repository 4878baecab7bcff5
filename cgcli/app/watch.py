"""What `cgcli watch` does: waits for files to be saved, and writes into them what their marked comments ask for.

It looks at the state of each file a few times a second, not at events: that sees every way to save, on every file
system. A file is read once it has stood still for a moment, since some editors write it in pieces. What is drawn goes
into the file only if that still holds what was read (`replace_if`); else the draw is used for the new text if it fits
there, and is dropped if not.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.core.errors import CgcliError, Interrupted, UsageError

if TYPE_CHECKING:
    from cgcli.app.run import Run
    from cgcli.core.config import Settings
    from cgcli.engine.protocol import Engine
    from cgcli.hub.choose import Choice
    from cgcli.native.interrupt import Interrupt
    from cgcli.program.languages import Language
    from cgcli.program.marks import MarkedComment
    from cgcli.program.program import Program, Turn
    from cgcli.sandbox.policy import Policy

_POLL_S = 0.05
_STILL_S = 0.05  # after the last change, a file is taken for saved
_KNOWN_RUNS = 200  # of the log, whose code is replaced when its comment is marked again
_SHOWN_COLUMNS = 60  # of a comment
_LARGEST = 1 << 22  # bytes; no model reads a file of that size


@dataclass(frozen=True)
class WatchArguments:
    """The command line of `watch`, without the settings."""

    files: tuple[Path, ...]
    read: tuple[Path, ...] = ()  # opened to programs that run
    write: tuple[Path, ...] = ()  # likewise, and they may change these
    unsafe: bool = False
    no_log: bool = False

    @property
    def policy(self) -> Policy:
        """Raises UsageError for paths that cannot be opened."""
        from cgcli.sandbox.opened import check_paths
        from cgcli.sandbox.policy import Policy

        check_paths((*self.read, *self.write))
        return Policy(unsafe=self.unsafe, read=self.read, write=self.write)


def watch_files(run: Run, settings: Settings, arguments: WatchArguments) -> None:
    """Watch files until Ctrl-C. Raises CgcliError if there is nothing to watch or no model, Interrupted by SIGTERM.

    Errors of a single file are printed, and it is looked at again when it is saved.
    """
    from cgcli.app.draft_texts import draft_texts
    from cgcli.app.model import Use, loaded_engine
    from cgcli.app.offer import choose_or_pull
    from cgcli.core.signals import on_signal
    from cgcli.native.interrupt import Interrupt

    paths = list(dict.fromkeys(arguments.files))
    for path in paths:
        _check(path)
    policy = arguments.policy
    choice = choose_or_pull(run, settings)
    if settings.seed is None:
        settings = replace(settings, seed=int.from_bytes(os.urandom(4)))
    if arguments.no_log:
        settings = replace(settings, log="off")
    interrupt, ended = Interrupt(), list[bool]()

    def end() -> None:
        ended.append(True)
        interrupt.set()

    texts = draft_texts(run, settings, paths[0])
    with on_signal(end), loaded_engine(run, settings, choice, Use(texts=texts)) as engine:
        files = [_File(run, settings, choice, engine, path, policy) for path in paths]
        names = ", ".join(map(str, paths))
        run.output.note(
            f"watching {names} with {choice.name} {engine.quant}, seed {settings.seed}; "
            "to write code, end a comment with ` !` and save; Ctrl-C quits"
        )
        for file in files:
            if not file.path.exists():
                run.output.note(f"{file.path} does not exist yet")
        while not interrupt.requested:
            for file in files:
                if not interrupt.requested and file.saved() and file.look(interrupt) and not ended:
                    interrupt.clear()
            time.sleep(_POLL_S)
    if ended:
        raise Interrupted


def _check(path: Path) -> None:
    """Raise UsageError for what is no program, CgcliError for what cannot be looked at."""
    from cgcli.core.reading import unreadable
    from cgcli.program.languages import is_known

    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # it may come
    except OSError as error:
        raise unreadable(path, error) from error
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint="name the files in it: cgcli watch FILE...")
    if path.suffix and not is_known(path):
        raise UsageError(f"{path} does not look like a program", hint="watch takes programs, such as FILE.py")


class _Dropped(Exception):
    """The file was saved, and no longer asks for what is drawn."""


@dataclass(frozen=True)
class _Wanted:
    """A mark in a text of the file."""

    mark: MarkedComment
    text: str

    def like(self, other: _Wanted | None) -> bool:
        """Whether the same answers both: for code, what is below it does not count."""
        if other is None or (self.mark.asks, self.mark.indent) != (other.mark.asks, other.mark.indent):
            return False
        mine, its = (one.mark.head(one.text) if one.mark.asks == "code" else one.text for one in (self, other))
        return mine == its


class _File:
    """A file, and the session that writes into it."""

    def __init__(
        self, run: Run, settings: Settings, choice: Choice, engine: Engine, path: Path, policy: Policy
    ) -> None:
        from cgcli.app.model import setup_of
        from cgcli.app.turn_report import FoldNotice
        from cgcli.program.generation import Generation
        from cgcli.program.languages import language_of
        from cgcli.program.program import Program, new_program
        from cgcli.program.session import Session

        self.path = path
        self._run = run
        self._settings = settings
        self._choice = choice
        self._policy = policy
        self._language: Language = language_of(path)
        self._beginning = new_program(self._language, settings, choice.card).prefix
        how = Generation.of(settings, choice.card, self._language.rules)
        self._session = Session(
            engine,
            Program(),
            how,
            model=choice.name,
            language=self._language.name,
            fold=settings.fold == "on",
            progress=run.output.progress(),
        )
        self._session.setup = setup_of(settings, choice, engine)
        self._fold_notice = FoldNotice(run.output)
        self._state: tuple[int, ...] | None = None  # of the file, when it was last looked for
        self._since = 0.0  # when that was first seen
        self._looked: tuple[int, ...] | None = None  # the state that needs no look
        self._turns: list[Turn] = _known_turns(run, settings, path)
        self._drawn: tuple[_Wanted, Turn] | None = None  # not in the file yet
        self._stopped = False  # by Ctrl-C, in the last look

    def saved(self) -> bool:
        """Whether the file stands still, and in another state than it was looked at."""
        try:
            found = self.path.stat()
            now = (found.st_ino, found.st_mtime_ns, found.st_size)
        except OSError:
            now = None  # some editors move it away before they write it
        if now != self._state:
            self._state, self._since = now, time.monotonic()
        return now not in (None, self._looked) and time.monotonic() - self._since >= _STILL_S

    def look(self, interrupt: Interrupt) -> bool:
        """Answer the first mark in the file. Returns whether Ctrl-C stopped that. Prints errors."""
        self._looked, self._stopped = self._state, False
        try:
            if wanted := self._wanted():
                self._answer(wanted, interrupt)  # which changes the file, so that it is looked at again
        except _Dropped:
            self._looked = None
        except Interrupted:
            self._stopped = True
            self._run.output.note(f"{self.path}: stopped; save it to start again; Ctrl-C quits")
        except CgcliError as error:
            name = "" if str(self.path) in error.message else f"{self.path}: "
            self._run.output.error(CgcliError(name + error.message, hint=error.hint))
        return self._stopped

    def _wanted(self) -> _Wanted | None:
        """The first mark in the file. Raises CgcliError if it cannot be read."""
        from cgcli.core.reading import read_bytes, unreadable
        from cgcli.program.marks import find_mark

        try:
            text = read_bytes(self.path, _LARGEST).decode()
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as error:
            raise CgcliError(f"{self.path} is not UTF-8 at byte {error.start}", hint="save it as UTF-8") from error
        except OSError as error:
            raise unreadable(self.path, error) from error
        mark = find_mark(text, self._language)
        return _Wanted(mark, text) if mark else None

    def _still(self, wanted: _Wanted) -> bool:
        """Whether the file still asks for this. A save that changes only what is below leaves a draw as it is."""
        if not self.saved():
            return True
        self._looked = self._state
        try:
            return wanted.like(self._wanted())
        except CgcliError:
            return False  # the next look says what is wrong

    def _answer(self, wanted: _Wanted, interrupt: Interrupt) -> None:
        """Write what a mark asks for. Raises CgcliError, _Dropped if the file was saved meanwhile, and Interrupted if
        Ctrl-C left nothing to write."""
        from cgcli.core.files import check_writable
        from cgcli.program.marks import unmarked
        from cgcli.terminal.text import clipped, visible

        mark = wanted.mark
        name = f"{self.path}, line {mark.line}"
        with _save_again():
            check_writable(self.path)
        if mark.asks == "output":
            self._run.output.note(f"{name}: running the program")
            self._write(wanted, self._output(wanted, interrupt), mark.output_below(wanted.text, self._language))
            return
        program, prompt = mark.program(wanted.text, self._language, self._beginning)
        if not (self._drawn and wanted.like(self._drawn[0])):
            asked = (mark.prompt or "continuing the text above").splitlines()[-1]
            label = f"{name}: {clipped(visible(asked), _SHOWN_COLUMNS)}"
            self._drawn = wanted, self._draw(wanted, program, prompt, label)
        turn = self._drawn[1]
        new, *known = (unmarked(one.completion.rstrip(), self._language) for one in (turn, *self._turns))
        self._write(wanted, new, mark.code_below(wanted.text, known))
        self._drawn = None
        self._turns.append(turn)
        self._report(wanted, program, turn)

    def _write(self, wanted: _Wanted, new: str, instead: int) -> None:
        from cgcli.core.files import replace_if

        text = wanted.mark.insert(wanted.text, new, instead=instead)
        with _save_again():
            if not replace_if(self.path, wanted.text.encode(), text.encode()):
                raise _Dropped

    # --- code

    def _draw(self, wanted: _Wanted, program: Program, prompt: str | None, label: str) -> Turn:
        """Draw a turn behind a program; its progress is shown with a label.

        Raises CgcliError if nothing was drawn, _Dropped, Interrupted.
        """
        from cgcli.program.session import drain
        from cgcli.program.source import digest
        from cgcli.terminal.text import plural

        session = self._session
        session.program, session.start = program, wanted.mark.indent

        context = digest(program.source() + program.opening(prompt))
        first, drawn = _draws(self._turns, context), session.engine.timings.decode_tokens
        with self._run.output.progress().task(label, None, unit="steps") as task:

            def check(_: str) -> None:
                task.status(plural(session.engine.timings.decode_tokens - drawn, "token"))
                if not self._still(wanted):
                    raise _Dropped

            session.preview = check
            turn = drain(session.add(prompt, self._fold_notice, lambda reading: session.draw(reading, first)))
        self._stopped = turn.interrupted
        if turn.accepted is not None:
            return turn
        if turn.interrupted:
            raise Interrupted
        self._turns.append(turn)  # the next draw is another one
        raise CgcliError(
            f"{label}: the model returned nothing in {plural(len(turn.candidates), 'attempt')}",
            hint="save it again for others, or reword the comment",
        )

    def _report(self, wanted: _Wanted, program: Program, turn: Turn) -> None:
        """Log the turn, and say what became of it."""
        from cgcli.app.log import logged
        from cgcli.app.model import planned_facts
        from cgcli.app.turn_report import report_turn
        from cgcli.program.conditions import conditions
        from cgcli.program.run_log import RunStart
        from cgcli.terminal.text import plural

        session, mark = self._session, wanted.mark
        known = conditions(planned_facts(self._settings, self._choice, session.generation))
        start = RunStart(
            folder=str(Path.cwd()),
            command=self._run.arguments,
            prompts=(turn.prompt or mark.prompt,),
            before=program.prefix,
            prefix=program.prefix,
            language=self._language.name,
            layout=program.layout,
            comments=True,
            file=str(self.path.resolve()),
            how={name: value for name, value in known.items() if name != "window" or value},
        )
        with logged(self._run, start if self._settings.log == "on" else None) as record:
            record.turns = (turn,)
            record.text = session.program.source()[len(program.prefix) :]
        line = mark.line + (mark.begin != mark.comment and mark.end != mark.below)
        name, lines = f"{self.path}, line {line}", turn.completion.count("\n") + 1
        report_turn(self._run.output, session, turn, name, line)
        stopped = "; stopped; a second Ctrl-C quits" * turn.interrupted
        self._run.output.note(f"{name}: wrote {plural(lines, 'line')}{stopped}")

    # --- output

    def _output(self, wanted: _Wanted, interrupt: Interrupt) -> str:
        """What the program prints, as comments. Raises SandboxError, UsageError, _Dropped, Interrupted."""
        from cgcli.sandbox.hint import sandbox_hint
        from cgcli.sandbox.risks import risks
        from cgcli.sandbox.run import run

        if self._language.name != "python":
            raise UsageError(
                f"cannot run a {self._language.name} program, only Python",
                hint=f"remove the line: {self._language.mark} ?",
            )
        output, source = self._run.output, wanted.text.encode()
        for risk in risks(source):
            output.note(f"{self.path}, line {risk.line}: {risk.what}")
        kept = True

        def stop() -> bool:
            nonlocal kept
            kept = kept and self._still(wanted)
            return interrupt.requested or not kept

        verdict = run(source, policy=self._policy, name=self.path.name, interrupted=stop)
        if verdict.outcome == "interrupted":
            raise Interrupted if kept else _Dropped
        printed = verdict.stdout + (verdict.stderr if verdict.passed else b"")
        shown = [printed.decode("utf-8", "replace").rstrip("\n")] if printed.strip() else []
        if not (verdict.passed or (verdict.outcome == "exit" and verdict.status == 0)):
            shown.append(str(verdict))
            file = shlex.quote(str(self.path))
            hint = sandbox_hint(
                verdict,
                self._policy,
                source,
                command=f"cgcli run {{}} {file}",
                opening=lambda options: f"cgcli watch {options} {file}",
            )
            if hint:
                output.note(hint)
        output.note(f"{self.path}, line {wanted.mark.line}: {verdict}, {verdict.wall_s:.2f} s")
        return wanted.mark.output("\n".join(shown) or "(printed nothing)", self._language)


@contextmanager
def _save_again() -> Iterator[None]:
    """Give errors of a file that cannot be written the hint for a file in an editor."""
    try:
        yield
    except CgcliError as error:
        raise CgcliError(error.message, hint="save it again once it can be written") from error


def _draws(turns: Sequence[Turn], context: str) -> int:
    """The number of the next draw behind a text: the one after those that were drawn for it in this run."""
    of_it = [turn for turn in turns if turn.facts and turn.facts.context == context]
    return max((one.draw + 1 for turn in of_it for one in turn.candidates), default=0)


def _known_turns(run: Run, settings: Settings, path: Path) -> list[Turn]:
    """The turns that the log has of a file, without their candidates, which are no reason to draw others."""
    from cgcli.app.log import opened_log

    if settings.log != "on":
        return []
    try:
        with opened_log(run) as log:
            return [replace(turn, candidates=()) for turn in log.turns_of(path, _KNOWN_RUNS)]
    except CgcliError as error:
        run.output.note(error.line)
        return []
