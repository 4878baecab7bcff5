"""Reads texts to train on from files, folders, archives and JSON lines, and records where each one comes from.

A file that is not a text is skipped and counted; only a path that does not exist is an error. Archives may be hostile:
nothing is extracted, the stated size of a member is not trusted, and a broken archive is counted. Which texts are worth
training on is decided in texts.py.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import shlex
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from cgcli.core.errors import CgcliError, UsageError
from cgcli.core.paths import expanded

MAX_BYTES = 1_000_000  # of one text: anything longer is data or generated code
_MAX_LINE = 8 * MAX_BYTES  # of JSON lines: JSON escapes can make a text six times as long
_LINES = (".jsonl", ".ndjson")
_ZIPS = (".zip", ".whl")
_TARS = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
_GZIP, _BZIP2, _XZ, _ZSTD = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"
_MAX_READ = 16 * MAX_BYTES  # of a tar at once: headers that ask for more are made to fill the memory
_BROKEN = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)


@dataclass(frozen=True)
class Source:
    """A text and its origin."""

    path: str  # of the file, relative to the folder or archive that contains it
    source: str  # the package, or `path` itself: sources are held out as a whole
    text: str
    licence: str = "unknown"  # an SPDX expression


class FileCounts:
    """Counts files and their bytes by label: a reason for skipping them, a licence."""

    def __init__(self) -> None:
        self.files: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    def add(self, label: str, size: int = 0) -> None:
        self.files[label] += 1
        self.bytes[label] += size

    def table(self) -> dict[str, dict[str, int]]:
        """{label: {"files": count, "bytes": their sum}}, the largest count first."""
        return {label: {"files": files, "bytes": self.bytes[label]} for label, files in self.files.most_common()}


def read_sources(base: Path, paths: Sequence[str], extensions: Sequence[str], skipped: FileCounts) -> Iterator[Source]:
    """Yield the texts in `paths`, sorted by name: the files with one of `extensions` in folders and archives, and the
    "text" or "content" of JSON lines. A .json file is read as JSON lines if `paths` names it.

    paths: relative to `base`. Raises CgcliError for a path that does not exist, UsageError for a JSON array.
    """
    for name in paths:
        lines = (*_LINES, ".json") if (base / expanded(name)).is_file() else _LINES
        for path, shown in walk(base, [name], extensions, skipped):
            if _is_archive(path):
                texts = archive_members(path, extensions, skipped)
                yield from (Source(f"{shown}/{member}", f"{shown}/{member}", text) for member, text in texts)
            elif path.suffix in lines:
                yield from _lines(path, shown, skipped)
            elif (text := _text(path, skipped)) is not None:
                yield Source(shown, shown, text)


def walk(
    base: Path, paths: Sequence[str], extensions: Sequence[str], skipped: FileCounts
) -> Iterator[tuple[Path, str]]:
    """Yield every file that `read` opens, with a name that does not change when the folder is moved. Raises CgcliError
    as `read` does."""
    for name in paths:
        top = base / expanded(name)
        if top.is_dir():
            for path in _files(top, skipped):
                if path.suffix in extensions:
                    yield path, (top.resolve().name / path.relative_to(top)).as_posix()
        elif top.is_file():
            yield top, top.name
        else:
            what = "neither a file nor a folder" if top.exists() else "no such file or folder"
            raise CgcliError(f"cannot train on {top}: {what}", hint="check --data and [data] paths in the recipe")


def decoded(data: bytes, skipped: FileCounts) -> str | None:
    """The text of a source file with plain line ends and without a byte order mark; None if it is not a text."""
    reason = "too large" if len(data) > MAX_BYTES else "binary" if b"\0" in data else ""
    if not reason:
        try:
            return data.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
        except UnicodeDecodeError:
            reason = "not UTF-8"
    skipped.add(reason, len(data))
    return None


def _text(path: Path, skipped: FileCounts) -> str | None:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(MAX_BYTES + 1)
            if data.startswith((_GZIP, _BZIP2, _XZ, _ZSTD)):
                skipped.add("compressed", size)
                return None
            if size > MAX_BYTES:
                skipped.add("too large", size)
                return None
            return decoded(data, skipped)
    except OSError:
        skipped.add("unreadable")
        return None


def _files(top: Path, skipped: FileCounts) -> Iterator[Path]:
    """Yield the regular files below `top`; links are followed, each folder is read once. Hidden folders and virtual
    environments are skipped: the code installed there is not the user's own."""
    seen: set[tuple[int, int]] = set()

    def failed(_: OSError) -> None:
        skipped.add("unreadable")

    for folder, below, names in os.walk(top, onerror=failed, followlinks=True):
        here = Path(folder)
        try:
            place = here.stat()
        except OSError:
            skipped.add("unreadable")
            below.clear()
            continue
        if (place.st_dev, place.st_ino) in seen:
            skipped.add("linked folder seen before")
            below.clear()
            continue
        seen.add((place.st_dev, place.st_ino))
        if "pyvenv.cfg" in names:
            skipped.add("virtual environment")
            below.clear()
            continue
        below[:] = sorted(name for name in below if not name.startswith(".") and name != "__pycache__")
        for name in sorted(names):
            path = here / name
            try:
                if stat.S_ISREG(path.stat().st_mode):
                    yield path
                else:
                    skipped.add("not a regular file")
            except OSError:  # a link to nowhere or to itself
                skipped.add("unreadable")


def _lines(path: Path, shown: str, skipped: FileCounts) -> Iterator[Source]:
    try:
        with path.open("rb") as file:
            number, blank = 0, True
            if file.peek(1).startswith((_GZIP, _BZIP2, _XZ, _ZSTD)):
                skipped.add("compressed", os.fstat(file.fileno()).st_size)
                return
            if _is_array(file):
                raise UsageError(
                    f"{path} is a JSON array; training reads JSON lines, one object per line",
                    hint=f"jq -c '.[]' {shlex.quote(str(path))} > {shlex.quote(path.stem)}.jsonl",
                )
            while line := file.readline(_MAX_LINE):
                number, blank = number + 1, blank and line.isspace()
                if len(line) == _MAX_LINE and not line.endswith(b"\n"):
                    size = len(line)
                    while (rest := file.readline(_MAX_LINE)) and not rest.endswith(b"\n"):
                        size += len(rest)
                    skipped.add("too large", size + len(rest))
                elif line.strip() and (source := _line(line, f"{shown}:{number}", skipped)) is not None:
                    yield source
            if blank:
                skipped.add("empty")
    except OSError:
        skipped.add("unreadable")


def _is_array(file: BinaryIO) -> bool:
    """Whether the file is a single array, on one line or several. Rewinds the file."""
    line = b"\n"
    while line.isspace():
        line = file.readline(_MAX_LINE)
    array = line.lstrip().removeprefix(b"\xef\xbb\xbf").startswith(b"[")
    if array:
        with suppress(ValueError, RecursionError):
            json.loads(line)
            array = not file.read(_MAX_LINE).strip()  # an array among other lines is merely a line without a text
    file.seek(0)
    return array


def _line(line: bytes, shown: str, skipped: FileCounts) -> Source | None:
    """The source in one JSON line; `shown` is its name if the line has none."""
    try:
        entry = json.loads(line)
        text = entry.get("text", entry.get("content"))
        data = text.encode("utf-8")  # raises for lone surrogates
    except (ValueError, RecursionError, AttributeError):
        skipped.add("JSON line without a text", len(line))
        return None
    text = decoded(data, skipped)
    if text is None:
        return None
    path = _word(entry, "path") or shown
    licence = _word(entry, "licence") or _word(entry, "license") or "unknown"
    return Source(path, _word(entry, "source") or path, text, licence)


def _word(entry: dict[str, object], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""


def _is_archive(path: Path) -> bool:
    return path.name.endswith(_ZIPS + _TARS)


def archive_members(path: Path, extensions: Sequence[str], skipped: FileCounts) -> Iterator[tuple[str, str]]:
    """Yield name and text of each source file in the archive, in the archive's order.

    Unreadable members are counted one by one, an archive that cannot be read to its end once.
    """
    try:
        if path.name.endswith(_ZIPS):
            yield from _zip_members(path, extensions, skipped)
        else:
            yield from _tar_members(path, extensions, skipped)
    except _BROKEN:
        skipped.add("broken archive", path.stat().st_size)


def _zip_members(path: Path, extensions: Sequence[str], skipped: FileCounts) -> Iterator[tuple[str, str]]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if not _wanted(entry.filename, extensions):
                continue
            try:
                with archive.open(entry) as file:
                    text = decoded(file.read(MAX_BYTES + 1), skipped)
            except _BROKEN:  # includes encrypted members and compression that Python does not know
                skipped.add("unreadable", entry.compress_size)
                continue
            if text is not None:
                yield entry.filename, text


def _tar_members(path: Path, extensions: Sequence[str], skipped: FileCounts) -> Iterator[tuple[str, str]]:
    with _unpacked(path) as stream, tarfile.open(fileobj=_BoundedReads(stream), mode="r:") as archive:
        while (entry := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps every member
            if not entry.isreg() or not _wanted(entry.name, extensions):
                continue
            if entry.size > MAX_BYTES:
                skipped.add("too large", entry.size)
                continue
            file = archive.extractfile(entry)
            text = decoded(file.read(MAX_BYTES + 1), skipped) if file else None
            if text is not None:
                yield entry.name, text
        stream.read(_MAX_READ)  # to the end, where the checksums are


def _wanted(name: str, extensions: Sequence[str]) -> bool:
    return not name.endswith("/") and PurePosixPath(name).suffix in extensions


def _unpacked(path: Path) -> IO[bytes] | gzip.GzipFile:
    """The decompressed tar in `path`; the first bytes tell its compression."""
    with path.open("rb") as file:
        head = file.read(6)
    if head.startswith(_GZIP):
        return gzip.open(path)
    if head.startswith(_BZIP2):
        return bz2.open(path)
    if head.startswith(_XZ):
        return lzma.open(path)
    return path.open("rb")


class _BoundedReads(io.RawIOBase):
    """A stream that refuses reads larger than an honest tar needs: tarfile reads an extended header whole, whatever
    length it states."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_READ:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True
