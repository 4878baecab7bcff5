"""The source files in tar and zip archives and wheels, read without extracting anything.

Archives may be hostile: no member is believed about its size, none is written anywhere, and what is broken is counted.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from cgcli.train.sources import MAX_BYTES, Tally, decoded

_ZIPS = (".zip", ".whl")
_TARS = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
_MAX_PIECE = 16 * MAX_BYTES  # no header of a tar that is not made to fill the memory comes near it
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


def is_archive(path: Path) -> bool:
    return path.name.endswith(_ZIPS + _TARS)


def members(path: Path, extensions: Sequence[str], dropped: Tally) -> Iterator[tuple[str, str]]:
    """Name and text of each source file in the archive, in the archive's order.

    A member that cannot be read is counted; an archive that cannot, or not to its end, is counted once.
    """
    try:
        if path.name.endswith(_ZIPS):
            yield from _zip_members(path, extensions, dropped)
        else:
            yield from _tar_members(path, extensions, dropped)
    except _BROKEN:
        dropped.add("broken archive", path.stat().st_size)


def _zip_members(path: Path, extensions: Sequence[str], dropped: Tally) -> Iterator[tuple[str, str]]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if not _wanted(entry.filename, extensions):
                continue
            try:
                with archive.open(entry) as file:
                    text = decoded(file.read(MAX_BYTES + 1), dropped)
            except _BROKEN:  # also one that is encrypted, or packed in a way that Python cannot unpack
                dropped.add("unreadable", entry.compress_size)
                continue
            if text is not None:
                yield entry.filename, text


def _tar_members(path: Path, extensions: Sequence[str], dropped: Tally) -> Iterator[tuple[str, str]]:
    with _unpacked(path) as stream, tarfile.open(fileobj=_Pieces(stream), mode="r:") as archive:
        while (entry := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # it keeps each one that it saw
            if not entry.isreg() or not _wanted(entry.name, extensions):
                continue
            if entry.size > MAX_BYTES:
                dropped.add("too large", entry.size)
                continue
            file = archive.extractfile(entry)
            text = decoded(file.read(MAX_BYTES + 1), dropped) if file else None
            if text is not None:
                yield entry.name, text
        stream.read(_MAX_PIECE)  # to the end, where the sums are


def _wanted(name: str, extensions: Sequence[str]) -> bool:
    return not name.endswith("/") and PurePosixPath(name).suffix in extensions


def _unpacked(path: Path) -> IO[bytes] | gzip.GzipFile:
    """The tar in `path` as it is unpacked, told by its first bytes."""
    with path.open("rb") as file:
        head = file.read(6)
    if head.startswith(b"\x1f\x8b"):
        return gzip.open(path)
    if head.startswith(b"BZh"):
        return bz2.open(path)
    if head.startswith(b"\xfd7zXZ\0"):
        return lzma.open(path)
    return path.open("rb")


class _Pieces(io.RawIOBase):
    """A stream of which no more is read at once than an honest tar asks for: tarfile reads a header's extension whole,
    however long it says that it is."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_PIECE:
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
