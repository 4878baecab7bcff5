"""A program that is saved and opened again is the same, byte for byte."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings

from cgcli.core.config import Settings
from cgcli.core.files import write_atomic
from cgcli.hub.choose import Choice
from cgcli.program.program import Program
from cgcli.program.program_store import ProgramStore
from cgcli.program.source import encode, for_file, from_file
from cgcli.repl.state import open_file
from tests.program.steps import Step, event, programs, steps, taken

CHOICE = Choice("tiny", Path("tiny.gguf"), "q8_0")


@settings(max_examples=150)
@given(programs, steps)
def test_a_saved_program_is_opened_as_it_was(program: Program, chosen: list[Step]) -> None:
    """By the bytes, since the model reads LF for CRLF, and two surrogates in a row may be one character's bytes."""
    text = encode(taken(program, chosen).program.source())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.py"
        write_atomic(file, text)
        journal, opened = open_file(ProgramStore(Path(folder) / "programs"), file, Settings(seed=1), CHOICE)
        with journal:
            assert file.read_bytes() == text
            assert opened is not None
            assert for_file(journal.history.program.source(), text) == text or not from_file(text)


@settings(max_examples=50)
@given(programs, steps)
def test_a_saved_program_resumes_with_its_versions(program: Program, chosen: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file, programs = Path(folder) / "x.py", ProgramStore(Path(folder) / "programs")
        with programs.new(program, "python") as journal:
            for step in chosen:
                if happens := event(journal.history, step):
                    journal.append(happens)
            history = journal.history
            write_atomic(file, encode(history.program.source()))
            journal.append(history.save(file))
        journal, opened = open_file(programs, file, Settings(seed=1), CHOICE)
        with journal:
            assert opened is None
            assert journal.history == history
            assert encode(journal.history.program.source()) == file.read_bytes()
