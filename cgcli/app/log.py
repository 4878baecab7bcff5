"""The log of `gen` and `watch`: the row of a run, and what `cgcli log` finds in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cgcli.core.errors import CgcliError, ExitStatus, UsageError

if TYPE_CHECKING:
    from cgcli.app.run import Run
    from cgcli.program.log_reader import LoggedRun, LogReader, Match
    from cgcli.program.program import Turn
    from cgcli.program.run_log import RunStart


def log_path(run: Run) -> Path:
    """The file of this user's log."""
    return run.environment.data / "log.sqlite"


class LastProgram(NamedTuple):
    """The program to go on with."""

    text: str
    language: str
    title: str  # the first line of its first prompt
    where: str  # it was found, for the user


@dataclass
class RunRecord:
    """What the log will say of this run; filled while it runs."""

    number: int | None = None  # in the log
    text: str = ""  # that was written, without the program so far
    turns: tuple[Turn, ...] = ()
    verdict: str = ""
    unwritten: bool = False  # its file could not be written

    @contextmanager
    def storing(self) -> Iterator[None]:
        """Keep in mind if the block cannot write the file."""
        try:
            yield
        except CgcliError:
            self.unwritten = True
            raise


@contextmanager
def logged(run: Run, start: RunStart | None) -> Iterator[RunRecord]:
    """Begin a row, and end it after the block, whatever ends that. Without `start`, nothing is logged.

    A log that cannot be written is said once, and changes nothing else.
    """
    from cgcli.program.run_log import RunEnd, RunLog

    record, status = RunRecord(), int(ExitStatus.OK)
    log = RunLog(log_path(run)) if start else None
    try:
        if log and start:
            record.number = log.begin(start)
    except CgcliError as error:
        run.output.note(f"not logged: {error.line}")
    try:
        yield record
    except BaseException as error:
        status = _status(error)
        raise
    finally:
        if log and start and record.number is not None:
            try:
                if record.unwritten:
                    start = replace(start, file=None)
                log.finish(record.number, start, RunEnd(record.text, record.turns, record.verdict, status))
            except CgcliError as error:
                run.output.note(f"logged without its text: {error.line}")
        if log:
            log.close()


def _status(error: BaseException) -> int:
    """The exit status of a run that ends with an error."""
    match error:
        case CgcliError():
            return error.status
        case BrokenPipeError():
            return ExitStatus.OK  # the reader has enough
        case SystemExit(code=int(code)):  # a signal
            return code
        case KeyboardInterrupt():
            return ExitStatus.INTERRUPTED
    return ExitStatus.FAILED


@contextmanager
def opened_log(run: Run) -> Iterator[LogReader]:
    """The log, for reading."""
    from cgcli.program.log_reader import LogReader

    log = LogReader(log_path(run))
    try:
        yield log
    finally:
        log.close()


def last_runs(run: Run, count: int) -> list[LoggedRun]:
    """The last runs, the latest first."""
    with opened_log(run) as log:
        return log.last(count)


def found_runs(run: Run, words: str, count: int) -> list[Match]:
    """The runs and sessions with these words, the latest first."""
    from cgcli.app.stores import program_store

    with opened_log(run) as log:
        return log.search(words, count, program_store(run))


def logged_run(run: Run, number: int | None) -> LoggedRun:
    """A run; None: the last one. Raises UsageError if there is no such run."""
    with opened_log(run) as log:
        if number is not None:
            return log.run(number)
        found = log.last(1)
    if not found:
        raise UsageError("nothing is logged yet")
    return found[0]


def last_program(run: Run) -> LastProgram:
    """The last program of this folder: what a run of `gen` left, or a session saved. Raises UsageError for none."""
    from cgcli.app.stores import program_store

    with opened_log(run) as log:
        found = log.last_text(str(Path.cwd()))
    saved = program_store(run).last_saved_in(Path.cwd())
    if saved and not (found and found.ended and found.ended > saved[0]):
        one = saved[1]
        title = next((turn.prompt for turn in one.program.turns if turn.prompt), "").partition("\n")[0]
        return LastProgram(one.text, one.language, title, one.where)
    if found is None:
        raise UsageError(
            "no program to go on with in this folder", hint="to see those of other folders, type: cgcli log"
        )
    return LastProgram(found.program, found.start.language, found.title, f"run {found.number}")


def prune_log(run: Run, days: int) -> int:
    """Remove the runs that began more than `days` days ago. Returns how many they were."""
    if not log_path(run).exists():
        return 0
    with opened_log(run) as log:
        return log.prune(days)
