"""Finds how a program was written: in the log, in sessions, and in stamps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cgcli.core.errors import CgcliError, UsageError

if TYPE_CHECKING:
    from cgcli.app.run import Run
    from cgcli.program.log_reader import LogReader
    from cgcli.program.recorded import Recorded


class Finder(NamedTuple):
    """Finds how texts were written: in the log, in sessions, and in the stamps of a file."""

    run: Run
    log: LogReader
    stamps: str = ""  # a text with stamps

    def of_text(self, text: str) -> Recorded | None:
        """How a text was written last; None if nothing knows it. Raises CgcliError if a stamp is damaged."""
        from cgcli.app.stores import program_store
        from cgcli.program.log_reader import recorded_run
        from cgcli.program.stamp import stamped

        try:
            found = self.log.of_text(text)
        except CgcliError as error:
            self.run.output.note(error.line)
            found = None
        if found and found.end and found.end.turns:
            return recorded_run(found)
        return program_store(self.run).with_text(text) or stamped(self.stamps, text)

    def chain(self, text: str) -> list[Recorded]:
        """How a text was written, and the text that this began with, and so on; the first one first."""
        found: list[Recorded] = []
        while text and (one := self.of_text(text)):
            found.insert(0, one)
            text = one.before if len(one.before) < len(text) else ""
        return found


def foreign_text(run: Run, file: Path) -> str:
    """The text of a file that cgcli did not write, byte for byte; "" for any other file."""
    from cgcli.app.log import opened_log
    from cgcli.core.reading import read_if_possible
    from cgcli.program.source import decode, from_file
    from cgcli.program.stamp import without_stamps

    if not file.is_file() or not (data := read_if_possible(file)):
        return ""
    text = from_file(data)
    with opened_log(run) as log:
        try:
            known = Finder(run, log, text).of_text(without_stamps(text))
        except CgcliError:  # a damaged stamp
            known = None
    return "" if known else decode(data)


def find_run(run: Run, number: int) -> list[Recorded]:
    """How the program of a run was written, the first part of it first. Raises UsageError if there is no such run."""
    from cgcli.app.log import opened_log
    from cgcli.program.log_reader import recorded_run

    with opened_log(run) as log:
        one = log.run(number)
        if "fill" in one.start.command:
            raise CgcliError(
                f"run {number} filled a place, and only whole turns can be written again",
                hint=f"cgcli log show {number}",
            )
        if not (one.end and one.end.turns):
            raise CgcliError(f"run {number} wrote nothing that is known", hint=f"cgcli log show {number}")
        return [*Finder(run, log).chain(one.start.before), recorded_run(one)]


def find_program(run: Run, file: Path) -> list[Recorded]:
    """How the program of a file was written, the first part of it first.

    Raises UsageError if there is no such file, CgcliError if nothing is known of it, or if it was changed since.
    """
    from cgcli.app.log import opened_log
    from cgcli.app.stores import program_store
    from cgcli.core.reading import read_if_present
    from cgcli.program.source import from_file
    from cgcli.program.stamp import has_stamp, without_stamps

    if not file.exists():
        raise UsageError(f"no such file: {file}", hint="cgcli log")
    data = from_file(read_if_present(file))
    with opened_log(run) as log:
        if found := Finder(run, log, data).chain(without_stamps(data)):
            return found
        filled, former = log.of_text(without_stamps(data)), log.of_file(file)
    if filled and "fill" in filled.start.command:
        raise CgcliError(
            f"run {filled.number} filled a place in {file}, and only whole turns can be written again",
            hint=f"cgcli log show {filled.number}",
        )
    if former:
        hint = f"its text then: cgcli log use {former.number}"
        raise CgcliError(f"{file} was changed since run {former.number} wrote it", hint=hint)
    if session := program_store(run).saved_to(file):
        hint = f"cgcli sessions show {session}"
        raise CgcliError(f"{file} was changed since session {session} saved it", hint=hint)
    if has_stamp(data):
        hint = "search for its prompts: cgcli log -q WORDS"
        raise CgcliError(f"{file} was changed since it was stamped", hint=hint)
    raise CgcliError(
        f"cgcli did not write {file}, or its log entry is gone", hint="gen --stamp keeps what replay needs in the file"
    )
