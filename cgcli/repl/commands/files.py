"""Commands that write files, or switch to another program."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.core.errors import CgcliError, UsageError
from cgcli.core.files import check_writable, locked, write_atomic
from cgcli.core.reading import read_if_possible, read_if_present
from cgcli.program.history import Saved
from cgcli.program.languages import parse_python
from cgcli.program.source import digest, encode, for_file, from_file, lines_of
from cgcli.repl.command import FILE, FORMAT, OVER, command
from cgcli.repl.commands.inspect import program_size
from cgcli.repl.commands.turns import last_index
from cgcli.repl.state import Repl
from cgcli.terminal.text import plural

if TYPE_CHECKING:
    from cgcli.program.export import Format


@command(FILE.optional, OVER.optional)
def save(repl: Repl, path: Path | None, over: str | None) -> None:
    """save the program

    Writes the program to FILE. Without FILE, writes to the file that it was opened from or last saved to, else to a
    new file named after the first prompt. A file with other content is not overwritten unless you add `over`: `/save
    FILE over`.
    """
    known = repl.known_file
    if path is None:
        path = Path(known.path) if known else _new_path(repl, repl.language.suffixes[0])
    text = repl.program.source()
    _write(repl, path, for_file(text, read_if_possible(path) or repl.known_bytes), "save", over, known)
    repl.do(repl.history.save(path))
    if repl.language.name == "python" and parse_python(repl.program.source()) is None:
        repl.ui.screen.note("the program is not valid Python yet")


@command(FORMAT, FILE.optional, OVER.optional)
def export(repl: Repl, form: Format, path: Path | None, over: str | None) -> None:
    """ipynb, md, mtpb

    Writes the program as a notebook with one cell per turn (ipynb), as Markdown (md), or as a problem of the
    multi-turn benchmark (mtpb). Without FILE, the file is named after the program. `/export FORMAT FILE over`
    overwrites a file.
    """
    from cgcli.program.export import FORMATS
    from cgcli.program.export import export as exported

    text = exported(repl.program, repl.journal.language, form, repl.history.runs)
    if path is None:
        known = repl.known_file
        suffix = FORMATS[form].suffix
        path = Path(known.path).with_suffix(suffix) if known else _new_path(repl, suffix)
    _write(repl, path, encode(text), f"export {form}", over, None)


@command(FILE)
def open_(repl: Repl, path: Path) -> None:
    """open a program

    Opens the program of FILE with its turns and versions if it was saved here, else starts a new program with the text
    of FILE. If FILE does not exist yet, /save creates it.
    """
    known = repl.known_file
    if known and known.path == str(path.resolve()) and known.text == digest(from_file(read_if_present(path))):
        raise UsageError(f"{displayed_path(repl, path)} is already open")
    repl.open(path)
    repl.ui.screen.note(f"{displayed_path(repl, path)}: {program_size(repl.program)}")


@command()
def clear(repl: Repl) -> None:
    """new program

    Starts a new program. The old one stays in `cgcli sessions`.
    """
    old = repl.journal.id if repl.history.at else None
    repl.clear()
    repl.ui.screen.note("new program" + (f"; to resume the old one: cgcli repl --resume {old}" if old else ""))


@command()
def copy(repl: Repl) -> None:
    """copy the program

    Copies the program to the clipboard: that of the terminal, or of wl-copy, xclip, xsel, pbcopy or clip.exe.
    """
    last_index(repl)
    clipboard = repl.ui.clipboard()
    clipboard.copy(repl.program.source())
    repl.ui.screen.note(f"copied {program_size(repl.program)} to {clipboard.name}")


def _write(repl: Repl, path: Path, data: bytes, command: str, over: str | None, known: Saved | None) -> None:
    """Write a file that is new or unchanged since `known`, or any file with `over`.

    Raises CgcliError and writes nothing otherwise.
    """
    name = displayed_path(repl, path)
    if path.is_fifo():
        raise CgcliError(f"cannot write {name}: it is a pipe")
    from cgcli.native.interrupt import Interrupt

    with locked(path, lambda: Interrupt().requested):
        if path.is_file() and not over:
            is_known = known is not None and known.path == str(path.resolve())
            held = digest(from_file(read_if_present(path)))
            if held != digest(from_file(data)) and not (is_known and known is not None and known.text == held):
                reason = "changed on disk" if is_known else "already exists"
                raise CgcliError(
                    f"{name} {reason} and was not overwritten", hint=f"overwrite it: /{command} {name} over"
                )
        check_writable(path)
        write_atomic(path, data)
    repl.ui.screen.note(f"{name}: {plural(len(lines_of(from_file(data))), 'line')} written")


def _new_path(repl: Repl, suffix: str) -> Path:
    """A path without a file, named after the first prompt. Raises UsageError without turns."""
    last_index(repl)
    words = re.findall(r"[a-z0-9]+", (repl.program.turns[0].prompt or "").lower())
    stem = "_".join(words[:4])[:40] or "program"
    path, number = repl.folder / f"{stem}{suffix}", 2
    while path.exists():
        path, number = repl.folder / f"{stem}_{number}{suffix}", number + 1
    return path


def displayed_path(repl: Repl, path: Path) -> str:
    """A path as the user would type it."""
    folder = repl.folder.resolve()
    path = path.resolve() if path.is_absolute() else path
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
