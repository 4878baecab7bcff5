"""The measurements of a training run: a file with a JSON line per step.

A run that continues from a checkpoint first removes an incomplete last line and the lines of the steps that it is going
to repeat, so each step appears once. This module does not import JAX.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from cgcli.core.errors import CgcliError
from cgcli.core.files import LineFile, write_atomic
from cgcli.core.reading import lines, open_regular, parse_json, unreadable
from cgcli.core.typed import typed


@dataclass(frozen=True)
class StepMetrics:
    """The measurements of one step."""

    step: int  # from 1
    loss: float  # the minimized sum of nll and z-loss, nats per token
    nll: float  # nats per token
    grad_norm: float | None  # before clipping; None if float16 overflowed and the step was skipped
    lr: float
    tokens: int  # trained so far
    seconds: float  # spent so far, compiling and earlier starts included
    tokens_per_s: float  # of this step
    peak_share: float  # of the device's measured rate of matrix products


_NAMES = frozenset(one.name for one in fields(StepMetrics))
_MOST = 1e100  # larger values are damage; sums of these are still finite


def read_metrics(path: Path) -> Iterator[StepMetrics]:
    """Yield the rows of a file, without an incomplete last line. Raises CgcliError for a malformed line."""
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


def _row(line: bytes, where: str) -> StepMetrics:
    try:
        values = typed(dict[str, Any], parse_json(line), "line")
        row: StepMetrics = typed(StepMetrics, {name: value for name, value in values.items() if name in _NAMES}, "line")
        for name, value in asdict(row).items():
            if value is not None and not -_MOST < value < _MOST:  # false for a NaN too
                raise ValueError(f"{name} is {value}")
    except ValueError as error:
        raise CgcliError(f"{where} is malformed: {error}") from None
    return row


class MetricsWriter:
    """Appends to the metrics file of a run; a context manager."""

    def __init__(self, path: Path, *, after: int) -> None:
        """after: step that the run continues from; lines of later steps are removed.

        Raises CgcliError if the disk fails or the file is malformed.
        """
        kept = [row for row in read_metrics(path) if row.step <= after]
        write_atomic(path, b"".join(map(_line, kept)))
        self._file = LineFile(path)

    def append(self, row: StepMetrics) -> None:
        """Write a row to the file at once. Raises ValueError for NaN, CgcliError if the disk fails."""
        self._file.append(_line(row))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def _line(row: StepMetrics) -> bytes:
    return json.dumps(asdict(row), allow_nan=False).encode() + b"\n"
