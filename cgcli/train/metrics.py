"""What a training run measures, step by step: lines of JSON, appended as they come.

A last line that was cut off is mended away, and a run that goes on from a checkpoint first takes back the lines of the
steps that it is going to do again: each step is there once. It knows no JAX; what the numbers mean is `run`'s.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cgcli.core.errors import CgcliError
from cgcli.core.files import LineFile, write_atomic
from cgcli.core.reading import lines, open_regular, parse_json, unreadable
from cgcli.core.typed import typed


@dataclass(frozen=True)
class Row:
    """One step. loss: what is minimised, nats a token (nll and z-loss); nll: nats a token; grad_norm: before clipping,
    None in a step that float16 passed over; tokens, seconds: of training so far, earlier starts and compiling included;
    tokens_per_s: of this step; peak_share: of the device's measured rate of products."""

    step: int
    loss: float
    nll: float
    grad_norm: float | None
    lr: float
    tokens: int
    seconds: float
    tokens_per_s: float
    peak_share: float


_NAMES = frozenset(one.name for one in fields(Row))
_MOST = 1e100  # no run measures more, and sums of these are numbers still


def read(path: Path) -> Iterator[Row]:
    """The rows of a file; a last line that was cut off is none. Raises CgcliError for a line that is no row."""
    try:
        with open_regular(path) as file:
            for number, line in enumerate(lines(file), 1):
                if not line.endswith(b"\n"):
                    return
                yield _row(line, f"{path}: line {number}")
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def _row(line: bytes, where: str) -> Row:
    try:
        values = typed(dict[str, Any], parse_json(line), "line")
        row: Row = typed(Row, {name: value for name, value in values.items() if name in _NAMES}, "line")
        for name, value in asdict(row).items():
            if value is not None and not -_MOST < value < _MOST:  # false for a NaN too
                raise ValueError(f"{name} is {value}")
    except ValueError as error:
        raise CgcliError(f"{where} is not a step's: {error}") from None
    return row


class Metrics:
    """The file of a run, opened to go on after a step. A context manager."""

    def __init__(self, path: Path, *, after: int) -> None:
        """after: the step that the run goes on from; lines of later ones go. Raises CgcliError where the disk says no,
        or where the file is no such file."""
        kept = [row for row in read(path) if row.step <= after]
        write_atomic(path, b"".join(map(_line, kept)))
        self._file = LineFile(path)

    def append(self, row: Row) -> None:
        """It is in the file when this returns. Raises ValueError for NaN, CgcliError where the disk says no."""
        self._file.append(_line(row))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()


def _line(row: Row) -> bytes:
    return json.dumps(asdict(row), allow_nan=False).encode() + b"\n"
