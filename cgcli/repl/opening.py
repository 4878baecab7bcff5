"""How a program comes into the REPL: new, or from a file. Knows neither screen nor model's weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.core.config import Settings
from cgcli.core.reading import read_if_present
from cgcli.program.history import Saved
from cgcli.program.languages import language_of
from cgcli.program.program import Layout, Program, new_program
from cgcli.program.source import digest, from_file

if TYPE_CHECKING:
    from cgcli.hub.choose import Choice
    from cgcli.program.journal import Journal
    from cgcli.program.program_store import ProgramStore


def open_file(programs: ProgramStore, path: Path, settings: Settings, choice: Choice) -> tuple[Journal, Saved | None]:
    """The program of a file, and what a new journal is to say first: which file, and what it held.

    A journal that last left this very text there goes on; else the text is the prefix of a new program, whose note says
    where turns are that the file once had. A file that is not there yet is one without text. Raises CgcliError.
    """
    text = from_file(read_if_present(path))
    journal = programs.of_file(path, text)
    if journal is not None:
        return journal, None
    code = language_of(path)
    program = Program(text, layout=Layout(code.mark)) if text else new_program(code, settings, choice.card)
    new = programs.new(program, code.name)
    if text and (former := programs.saved_to(path)):
        new.note = (
            f"it was changed since session {former} wrote it, whose turns are there: cgcli repl --resume {former}"
        )
    return new, Saved(str(path.resolve()), digest(text))
