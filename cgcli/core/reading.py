"""Reads files from anywhere: only regular ones, of bounded size, with every fault in one line.

Whatever a file holds, reading raises nothing but OSError (it cannot be read) and ValueError (it is malformed). A value
that is returned can be printed, compared, copied and written again.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol

from cgcli.core.errors import CgcliError
from cgcli.core.progress import Progress, Silent

MAX_BYTES = 64 << 20  # tokenizer.json, the largest of its kind, has 3.6 MB
MAX_TOML_BYTES = 1 << 20
MAX_NESTING = 100
MAX_INTEGER_BITS = 1000  # longer ones are no float, and Python does not show those of more than 4,300 digits
MAX_SHOWN = 80  # characters

_PIECE = 1 << 20
_SAMPLES, _SAMPLE = 64, 1 << 14
_SILENT = Silent()
_UTF8_MARK = b"\xef\xbb\xbf"
# A key a.a.a...: tomllib's time grows with the square of its length.
_DEEP_KEY = rb"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){%d}""" % MAX_NESTING


class Hash(Protocol):
    """The interface of hashlib's objects."""

    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading; never blocks. Raises OSError, also for a pipe, device, socket or folder."""
    _check_regular(path, path.stat().st_mode)  # before opening: opening some devices has effects
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    try:
        _check_regular(path, os.fstat(file.fileno()).st_mode)
    except OSError:
        file.close()
        raise
    return file


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """All of a regular file. Raises OSError, also if it has more than `limit` bytes."""
    with open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"it has more than {limit} bytes", str(path))
    return data


def read_if_present(path: Path) -> bytes:
    """All of a regular file, or b"" if it does not exist. Raises CgcliError if it cannot be read."""
    try:
        return read_bytes(path)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise unreadable(path, error) from error


def read_if_possible(path: Path) -> bytes:
    """All of a regular file, whatever its size, or b"" if it does not exist or cannot be read."""
    try:
        with open_regular(path) as file:
            return file.read()
    except OSError:
        return b""


def sha256_file(path: Path, progress: Progress = _SILENT, label: str = "") -> str:
    """The sha256 of a file, in hexadecimal. Raises OSError."""
    from hashlib import sha256  # 2 ms

    return hash_file(sha256(), path, progress, label)


def sampled_sha256(path: Path) -> str:
    """A sha256 of a file's size and of 64 pieces of it, evenly spaced: it tells large files apart, in a millisecond.

    Raises OSError.
    """
    from hashlib import sha256

    digest = sha256()
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(str(size).encode())
        for number in range(_SAMPLES):
            file.seek(max(0, size - _SAMPLE) * number // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


def hash_file(digest: Hash, path: Path, progress: Progress = _SILENT, label: str = "") -> str:
    """Feed a file to a hashlib object and return its hexadecimal digest. Raises OSError."""
    with open_regular(path) as file, progress.task(label, os.fstat(file.fileno()).st_size) as task:
        while piece := file.read(_PIECE):
            digest.update(piece)
            task.advance(len(piece))
    return digest.hexdigest()


def lines(file: IO[bytes], limit: int = MAX_BYTES) -> Iterator[bytes]:
    """The lines of an open file, with their ends. Raises ValueError for a line of more than `limit` bytes."""
    while line := file.readline(limit + 1):
        if len(line) > limit:
            raise ValueError(f"a line has more than {limit} bytes")
        yield line


def read_text(path: Path) -> str:
    """The text of a regular UTF-8 file, without a byte order mark. Raises OSError and ValueError."""
    return _text(read_bytes(path))


def read_json(path: Path, error: type[CgcliError] = CgcliError) -> Any:
    """The JSON value in a file. Raises `error`, naming the file."""
    try:
        return parse_json(read_bytes(path))
    except (OSError, ValueError) as fault:
        raise unreadable(path, fault, error) from fault


def read_toml(path: Path, error: type[CgcliError] = CgcliError) -> dict[str, Any]:
    """The TOML table in a file. Raises CgcliError if it cannot be read, `error` if it is not TOML; both name it."""
    try:
        return parse_toml(read_bytes(path, MAX_TOML_BYTES))
    except OSError as fault:
        raise unreadable(path, fault) from fault
    except ValueError as fault:
        raise unreadable(path, fault, error) from fault


def unreadable(path: Path, fault: OSError | ValueError, error: type[CgcliError] = CgcliError) -> CgcliError:
    """The error to raise for a fault that occurred while reading `path`."""
    if isinstance(fault, OSError):
        return error(f"cannot read {path}: {fault.strerror or fault}")
    return error(f"{path}: {fault}")


def parse_json(data: bytes) -> Any:
    """Parse JSON, without a byte order mark. Raises ValueError with a one-line message."""
    import json

    try:
        value = json.loads(_text(data), object_pairs_hook=_without_repeats)
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {_words(error)}") from None
    return _bounded(value, "JSON")


def parse_toml(data: bytes) -> dict[str, Any]:
    """Parse TOML, without a byte order mark. Raises ValueError with a one-line message."""
    import re
    import tomllib

    if re.search(_DEEP_KEY, data):
        raise ValueError("not TOML: nested too deeply")
    try:
        table = tomllib.loads(_text(data))
    except RecursionError:
        raise ValueError("not TOML: nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not TOML: {_words(error)}") from None
    _bounded(table, "TOML")
    return table


def _text(data: bytes) -> str:
    try:
        return data.removeprefix(_UTF8_MARK).decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None


def shown(value: object) -> str:
    """A value from a file as an error message shows it: short and on one line."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    text = ascii(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _check_regular(path: Path, mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
    raise OSError(number, f"it is {kinds.get(stat.S_IFMT(mode), 'something')}, not a regular file", str(path))


def _bounded(value: Any, language: str) -> Any:
    """Return `value`. Raises ValueError for what Python parses but cannot copy, compare or print."""
    level, depth = [value], 0
    while level:
        if depth > MAX_NESTING:
            raise ValueError(f"not {language}: nested too deeply")
        found = (
            [one for many in level for one in (many.values() if isinstance(many, dict) else many)] if depth else level
        )
        if any(type(one) is int and one.bit_length() > MAX_INTEGER_BITS for one in found):
            raise ValueError(f"not {language}: a number has too many digits")
        level = [one for one in found if isinstance(one, dict | list)]
        depth += 1
    return value


def _words(error: ValueError) -> str:
    """Python's own words name a function of Python's."""
    return "a number has too many digits" if "set_int_max_str_digits" in str(error) else str(error)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key is there twice")
    return value
