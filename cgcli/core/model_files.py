"""Files of a model: reads their JSON objects, and recognizes by its first bytes a file that is something else.

Examples are a git-lfs pointer, a login page saved as a model, and an outdated format. Whatever a file contains, the
only error is a ModelFileError that names it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from cgcli.core import reading
from cgcli.core.errors import ModelFileError

HEAD_BYTES = 512  # that `check_kind` needs

_AGAIN = "download it again"
_CONVERT = "cgcli convert FOLDER -o FILE.gguf"
_UNPACK = "unpack it first"


class FileKind(NamedTuple):
    """A kind of file that is often found in place of another."""

    name: str  # for `check_kind`
    what: str  # the predicate of an error
    hint: str | None = None


_LFS = FileKind("pointer", "is a git-lfs pointer, not the file itself", "run `git lfs pull` in its folder")
_ANNEX = FileKind("pointer", "is a git-annex pointer, not the file itself", "run `git annex get` in its folder")
_HTML = FileKind("page", "is an HTML page, not the file itself", _AGAIN)
_XML = FileKind("page", "is an XML page, not the file itself", _AGAIN)

# By magic number. The old formats of llama.cpp wrote theirs in little-endian order.
_MAGICS: tuple[tuple[bytes, FileKind], ...] = (
    (b"version https://git-lfs.", _LFS),
    (b"version https://hawser.", _LFS),
    (b"/annex/objects/", _ANNEX),
    (b"GGUF", FileKind("gguf", "is already a GGUF file", "cgcli models add FILE.gguf --name NAME")),
    *(
        (magic, FileKind("ggml", f"is in the old {name} format, from before GGUF", "pull or convert the model again"))
        for magic, name in ((b"lmgg", "ggml"), (b"fmgg", "ggmf"), (b"tjgg", "ggjt"), (b"algg", "ggla"))
    ),
    (b"PK\x03\x04", FileKind("zip", "is a zip file, like PyTorch weights", _CONVERT)),
    (b"\x80\x02", FileKind("pickle", "is a pickle, like PyTorch weights", _CONVERT)),
    (b"\x1f\x8b", FileKind("packed", "is compressed with gzip", _UNPACK)),
    (b"\x28\xb5\x2f\xfd", FileKind("packed", "is compressed with zstd", _UNPACK)),
    (b"\xfd7zXZ\x00", FileKind("packed", "is compressed with xz", _UNPACK)),
)
_PAGES: tuple[tuple[bytes, FileKind], ...] = (
    (b"<!doctype html", _HTML),
    (b"<html", _HTML),
    (b"<head", _HTML),
    (b"<!--", _HTML),
    (b"<?xml", _XML),
    (b"<error", _XML),
)


def kind_of(head: bytes) -> FileKind | None:
    """The kind of a file that begins with `head`, or None."""
    for magic, kind in _MAGICS:
        if head.startswith(magic):
            return kind
    if not head:
        return FileKind("empty", "is empty", _AGAIN)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for start, kind in _PAGES:
        if text[: len(start)].lower() == start:
            return kind
    if head[8:9] == b"{" and head[5:8] == b"\0\0\0":  # the length of a header, eight bytes
        return FileKind("safetensors", "is a safetensors file", _CONVERT)
    return _text(text)


def check_kind(name: Path | str, head: bytes, *expected: str) -> None:
    """Raise ModelFileError if `head` is of a known kind that is not `expected`."""
    kind = kind_of(head[:HEAD_BYTES])
    if kind is not None and kind.name not in expected:
        raise ModelFileError(f"{name}: {kind.what}", hint=kind.hint)


def _text(text: bytes) -> FileKind | None:
    """A line of text, such as a server's `Entry not found`."""
    line = text.split(b"\n")[0].strip()[:60]
    if len(line) < 8 or not all(0x20 <= byte < 0x7F for byte in line):
        return None
    return FileKind("text", f"is a text file beginning with {line.decode()!a}", _AGAIN)


def read_object(path: Path) -> dict[str, Any]:
    """The object in `path`. Raises ModelFileError."""
    try:
        data = reading.read_bytes(path)
    except OSError as error:
        raise reading.unreadable(path, error, ModelFileError) from error
    return parse_object(data, str(path))


def parse_object(data: bytes, name: str) -> dict[str, Any]:
    """The object in `data`; `name` is for errors. Raises ModelFileError."""
    try:
        value = reading.parse_json(data)
    except ValueError as error:
        check_kind(name, data, "text", "empty")
        raise ModelFileError(f"{name}: {error}") from None
    if not isinstance(value, dict):
        raise ModelFileError(f"{name}: has a JSON {type(value).__name__}, not an object")
    return value
