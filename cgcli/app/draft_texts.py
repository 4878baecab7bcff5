"""Chooses the texts to guess from besides the program itself: the files of its project, and the last programs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.core.errors import CgcliError, UsageError
from cgcli.core.paths import expanded

if TYPE_CHECKING:
    from cgcli.app.run import Run
    from cgcli.core.config import Settings
    from cgcli.engine.kept_ngrams import DraftText

_FILES = 400  # of a project, those nearest to the program
_PROGRAMS = 10
_LARGEST = 1 << 17  # bytes of a file; larger ones are mostly data
_GIT_S = 2.0
_SUFFIX = ".py"


def draft_texts(run: Run, settings: Settings, file: Path | None) -> list[DraftText]:
    """The texts to guess from, the most similar first. file: of the program, which is not among them.

    Raises UsageError if `draft_from` does not exist.
    """
    place = _place(settings, file)
    if place is None:
        return []
    near = (file or place / "program").absolute()
    files = [place] if place.is_file() else _nearest(_listed(place, near.suffix or _SUFFIX), near)[:_FILES]
    texts = [text for path in files if path.absolute() != near and (text := _text(path, partial(_bytes, path)))]
    texts.sort(key=lambda text: _closeness(Path(text.name), near), reverse=True)
    return [*texts, *_programs(run)]


def _place(settings: Settings, file: Path | None) -> Path | None:
    """The file or folder to guess from; None for none."""
    if settings.draft != "ngram" or settings.draft_from == "off":
        return None
    if settings.draft_from != "auto":
        place = expanded(settings.draft_from)
        if not place.exists():
            raise UsageError(f"--draft-from: {place} does not exist", hint="give a file or a folder, or auto or off")
        return place
    folders = file.absolute().parents if file else ()
    return next((folder for folder in folders if (folder / ".git").exists()), None)


def _listed(folder: Path, suffix: str) -> list[Path]:
    """The files with this suffix: those that git tracks, or all if it tracks none."""
    import subprocess

    command = ["git", "-C", str(folder), "ls-files", "-z", "--", f"*{suffix}"]
    with suppress(OSError, subprocess.SubprocessError):
        names = subprocess.run(command, capture_output=True, check=True, timeout=_GIT_S).stdout
        if names:
            return [folder / os.fsdecode(name) for name in names.split(b"\0") if name]
    return list(_walked(folder, suffix))


def _walked(folder: Path, suffix: str) -> Iterator[Path]:
    """The first files in a folder and those in it."""
    found = 0
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.endswith(suffix):
                found += 1
                yield Path(here, name)
        if found >= _FILES:
            return


def _nearest(files: Iterable[Path], near: Path) -> list[Path]:
    return sorted(files, key=lambda file: _closeness(file, near), reverse=True)


def _closeness(file: Path, near: Path) -> tuple[int, int, str]:
    """Greater for a file that is fewer folders away."""
    parts, others = file.absolute().parts[:-1], near.parts[:-1]
    shared = sum(1 for _ in _alike(parts, others))
    return 2 * shared - len(parts) - len(others), shared, str(file)


def _alike(parts: tuple[str, ...], others: tuple[str, ...]) -> Iterator[str]:
    for one, other in zip(parts, others, strict=False):
        if one != other:
            return
        yield one


def _programs(run: Run) -> Iterator[DraftText]:
    """The programs that were changed last."""
    from cgcli.program.program_store import ProgramStore
    from cgcli.program.source import encode

    programs = ProgramStore(run.environment.data / "programs")

    def source(name: str) -> bytes:
        try:
            return encode(programs.read(name).history.program.source())
        except CgcliError:
            return b""  # damaged

    for name in programs.ids()[:_PROGRAMS]:
        text = _text(programs.folder / f"{name}.jsonl", partial(source, name))
        if text:
            yield text


def _text(path: Path, read: partial[bytes]) -> DraftText | None:
    """The text of a file; None if it is missing, large or no regular file."""
    from cgcli.engine.kept_ngrams import DraftText

    try:
        facts = path.stat()
    except OSError:
        return None
    if not path.is_file() or not 0 < facts.st_size <= _LARGEST:
        return None
    return DraftText(str(path.absolute()), facts.st_size, facts.st_mtime_ns, read)


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LARGEST)
