"""Commands that write files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.core.errors import CgcliError
from cgcli.core.files import check_writable, locked, write_atomic
from cgcli.core.reading import read_if_possible, read_if_present
from cgcli.core.units import plural
from cgcli.program.history import Saved
from cgcli.program.languages import parse_python
from cgcli.program.source import digest, encode, for_file, from_file, lines_of
from cgcli.repl.arguments import FILE, FORMAT, OVER
from cgcli.repl.command import command
from cgcli.repl.commands.turns import last
from cgcli.repl.state import Repl

if TYPE_CHECKING:
    from cgcli.program.export import Format


@command(FILE.optional, OVER.optional)
def save(repl: Repl, path: Path | None, over: str | None) -> None:
    """write the program

    Writes the program to FILE; without FILE to where it came from or was last saved, else to a file named after the
    first prompt. A file that holds something else than what was last saved there is left alone, unless you say
    `/save FILE over`.
    """
    known = repl.known_file
    if path is None:
        path = Path(known.path) if known else _free(repl, repl.language.suffixes[0])
    text = repl.program.source()
    _write(repl, path, for_file(text, read_if_possible(path) or repl.known_bytes), "save", over, known)
    repl.do(repl.history.save(path))
    if repl.language.name == "python" and parse_python(repl.program.source()) is None:
        repl.screen.note("it is not valid Python yet")


@command(FORMAT, FILE.optional, OVER.optional)
def export(repl: Repl, form: Format, path: Path | None, over: str | None) -> None:
    """ipynb, md, mtpb

    Writes the program as a notebook with a cell a turn (ipynb), as Markdown (md), or as a problem in the format of the
    multi-turn benchmark (mtpb), to FILE or to one named after the program. `/export FORMAT FILE over` replaces a file.
    """
    from cgcli.program.export import FORMATS
    from cgcli.program.export import export as exported

    text = exported(repl.program, repl.journal.language, form, repl.history.runs)
    if path is None:
        known = repl.known_file
        suffix = FORMATS[form].suffix
        path = Path(known.path).with_suffix(suffix) if known else _free(repl, suffix)
    _write(repl, path, encode(text), f"export {form}", over, None)


def _write(repl: Repl, path: Path, data: bytes, command: str, over: str | None, known: Saved | None) -> None:
    """Write a file that is new, or `known`, or to be written over. Raises CgcliError; nothing is written then."""
    name = shown(repl, path)
    if path.is_fifo():
        raise CgcliError(f"cannot write {name}: it is a pipe, and nobody may read it")
    with locked(path):
        if path.is_file() and not over:
            is_known = known is not None and known.path == str(path.resolve())
            held = digest(from_file(read_if_present(path)))
            if held != digest(from_file(data)) and not (is_known and known is not None and known.text == held):
                what = "was changed meanwhile" if is_known else "is there already"
                raise CgcliError(f"{name} {what}, and is left as it is", hint=f"/{command} {name} over")
        check_writable(path)
        write_atomic(path, data)
    repl.screen.note(f"{name}: {plural(len(lines_of(from_file(data))), 'line')} written")


def _free(repl: Repl, suffix: str) -> Path:
    """A file that is not there yet, named after the first prompt. Raises UsageError where there is no turn."""
    last(repl)
    words = re.findall(r"[a-z0-9]+", (repl.program.turns[0].prompt or "").lower())
    stem = "_".join(words[:4])[:40] or "program"
    path, number = repl.folder / f"{stem}{suffix}", 2
    while path.exists():
        path, number = repl.folder / f"{stem}_{number}{suffix}", number + 1
    return path


def shown(repl: Repl, path: Path) -> str:
    """A path as the user would type it."""
    folder = repl.folder.resolve()
    path = path.resolve() if path.is_absolute() else path
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
