"""Texts to train on, one by one, from folders, files, archives and JSON lines; and where each is from.

Whatever cannot be a text is passed over and counted, never an error: only a path that is not there is one. It does not
judge texts (filters.py) and follows no path outside what it was given, but links.
"""

from __future__ import annotations

import json
import os
import shlex
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cgcli.core.errors import CgcliError, UsageError

MAX_BYTES = 1_000_000  # of one text: what is longer is data or generated
_MAX_LINE = 8 * MAX_BYTES  # of JSON lines: a text as JSON may be six times as long
_LINES = (".jsonl", ".ndjson")
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, zstd


@dataclass(frozen=True)
class Source:
    """path: of the file, from the folder or archive that it is in; source: the package that it is from, or `path`
    itself: what is kept out of training is kept out by it. licence: an SPDX expression, or "unknown"."""

    path: str
    source: str
    text: str
    licence: str = "unknown"


class Tally:
    """Files and their bytes, counted by word: a reason, a licence."""

    def __init__(self) -> None:
        self.files: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    def add(self, word: str, size: int = 0) -> None:
        self.files[word] += 1
        self.bytes[word] += size

    def table(self) -> dict[str, dict[str, int]]:
        """{word: {"files": how many, "bytes": of them all}}, the most files first."""
        return {word: {"files": files, "bytes": self.bytes[word]} for word, files in self.files.most_common()}


def read(base: Path, paths: Sequence[str], extensions: Sequence[str], dropped: Tally) -> Iterator[Source]:
    """The texts that `paths` have, in order of name: of folders and archives the files with one of `extensions`, of
    JSON lines the values of "text" or "content". A .json file that is named itself has JSON lines, too.

    paths: relative to `base`. Raises CgcliError for a path that is not there, UsageError for a JSON array.
    """
    from cgcli.train.archives import is_archive, members

    for name in paths:
        lines = (*_LINES, ".json") if (base / Path(name).expanduser()).is_file() else _LINES
        for path, shown in walk(base, [name], extensions, dropped):
            if is_archive(path):
                texts = members(path, extensions, dropped)
                yield from (Source(f"{shown}/{member}", f"{shown}/{member}", text) for member, text in texts)
            elif path.suffix in lines:
                yield from _lines(path, shown, dropped)
            elif (text := _text(path, dropped)) is not None:
                yield Source(shown, shown, text)


def walk(base: Path, paths: Sequence[str], extensions: Sequence[str], dropped: Tally) -> Iterator[tuple[Path, str]]:
    """Every file that `read` looks into: where it is, and how it is named, which is the same wherever the folder is
    moved to. Raises CgcliError as `read`."""
    for name in paths:
        top = base / Path(name).expanduser()
        if top.is_dir():
            for path in _files(top, dropped):
                if path.suffix in extensions:
                    yield path, (top.resolve().name / path.relative_to(top)).as_posix()
        elif top.is_file():
            yield top, top.name
        else:
            what = "neither a file nor a folder" if top.exists() else "no such file or folder"
            raise CgcliError(f"{what} to train on: {top}")


def decoded(data: bytes, dropped: Tally) -> str | None:
    """The text of a source file with the line ends that Python reads, without a byte order mark; None where it has none
    that can be trained on."""
    reason = "too large" if len(data) > MAX_BYTES else "binary" if b"\0" in data else ""
    if not reason:
        try:
            return data.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
        except UnicodeDecodeError:
            reason = "not UTF-8"
    dropped.add(reason, len(data))
    return None


def _text(path: Path, dropped: Tally) -> str | None:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(MAX_BYTES + 1)
            if data.startswith(_PACKED):
                dropped.add("compressed", size)
                return None
            if size > MAX_BYTES:
                dropped.add("too large", size)
                return None
            return decoded(data, dropped)
    except OSError:
        dropped.add("unreadable")
        return None


def _files(top: Path, dropped: Tally) -> Iterator[Path]:
    """The regular files below `top`, also behind links, each folder once. Not of hidden folders and virtual
    environments: what is installed there is not the user's own."""
    seen: set[tuple[int, int]] = set()

    def failed(_: OSError) -> None:
        dropped.add("unreadable")

    for folder, below, names in os.walk(top, onerror=failed, followlinks=True):
        here = Path(folder)
        try:
            place = here.stat()
        except OSError:
            dropped.add("unreadable")
            below.clear()
            continue
        if (place.st_dev, place.st_ino) in seen:
            dropped.add("linked folder seen before")
            below.clear()
            continue
        seen.add((place.st_dev, place.st_ino))
        if "pyvenv.cfg" in names:
            dropped.add("virtual environment")
            below.clear()
            continue
        below[:] = sorted(name for name in below if not name.startswith(".") and name != "__pycache__")
        for name in sorted(names):
            path = here / name
            try:
                if stat.S_ISREG(path.stat().st_mode):
                    yield path
                else:
                    dropped.add("not a regular file")
            except OSError:  # a link to nowhere or to itself
                dropped.add("unreadable")


def _lines(path: Path, shown: str, dropped: Tally) -> Iterator[Source]:
    try:
        with path.open("rb") as file:
            number, blank = 0, True
            if file.peek(1).startswith(_PACKED):
                dropped.add("compressed", os.fstat(file.fileno()).st_size)
                return
            if _is_array(file):
                raise UsageError(
                    f"{path} is a JSON array; training reads JSON lines, an object a line",
                    hint=f"jq -c '.[]' {shlex.quote(str(path))} > {shlex.quote(path.stem)}.jsonl",
                )
            while line := file.readline(_MAX_LINE):
                number, blank = number + 1, blank and line.isspace()
                if len(line) == _MAX_LINE and not line.endswith(b"\n"):
                    size = len(line)
                    while (rest := file.readline(_MAX_LINE)) and not rest.endswith(b"\n"):
                        size += len(rest)
                    dropped.add("too large", size + len(rest))
                elif line.strip() and (source := _line(line, f"{shown}:{number}", dropped)) is not None:
                    yield source
            if blank:
                dropped.add("empty")
    except OSError:
        dropped.add("unreadable")


def _is_array(file: BinaryIO) -> bool:
    """Whether a file is one array, on one line or on many; it is then at its beginning again."""
    line = b"\n"
    while line.isspace():
        line = file.readline(_MAX_LINE)
    array = line.lstrip().removeprefix(b"\xef\xbb\xbf").startswith(b"[")
    if array:
        with suppress(ValueError, RecursionError):
            json.loads(line)
            array = not file.read(_MAX_LINE).strip()  # a line of its own among others is only no text
    file.seek(0)
    return array


def _line(line: bytes, shown: str, dropped: Tally) -> Source | None:
    """The source in one JSON line; `shown` names it where it does not name itself."""
    try:
        entry = json.loads(line)
        text = entry.get("text", entry.get("content"))
        data = text.encode("utf-8")  # not what stands for half a character
    except (ValueError, RecursionError, AttributeError):
        dropped.add("no JSON line of a text", len(line))
        return None
    text = decoded(data, dropped)
    if text is None:
        return None
    path = _word(entry, "path") or shown
    licence = _word(entry, "licence") or _word(entry, "license") or "unknown"
    return Source(path, _word(entry, "source") or path, text, licence)


def _word(entry: dict[str, object], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""
