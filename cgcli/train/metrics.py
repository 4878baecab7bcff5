"""The measurements of a training run: a file with a JSON line per step, and a profile of a few steps.

A run that continues from a checkpoint first removes an incomplete last line and the lines of the steps that it is going
to repeat, so each step appears once. Reading the file does not import JAX.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
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


FIRST, LAST = 3, 5  # steps; the first compiles, the second has cold caches
NAMED = 5  # operations in the summary


class Profiler:
    """Traces steps FIRST to LAST of a run, counted from its start or restart, into `folder`. A context manager."""

    def __init__(self, folder: Path, note: Callable[[str], None]) -> None:
        """note: called with a line about the trace."""
        self._folder = folder
        self._note = note
        self._step = 0
        self._running = False

    def before(self) -> None:
        """Call before each step."""
        self._step += 1
        if self._step == FIRST:
            import jax

            jax.profiler.start_trace(self._folder)
            self._running = True

    def after(self) -> None:
        """Call after each step."""
        if self._step == LAST:
            self._stop()

    def _stop(self) -> None:
        if self._running:
            import jax

            self._running = False
            jax.profiler.stop_trace()
            count = min(self._step, LAST) - FIRST + 1
            self._note(f"profile of {count} steps in {self._folder}: {slowest_operations(self._folder)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()


def slowest_operations(folder: Path) -> str:
    """The slowest operations of the newest trace in `folder`, with their shares of the total time.

    The time of an operation excludes operations inside it, such as the body of a loop.
    """
    import jax

    newest = max(folder.rglob("*.xplane.pb"), key=lambda file: file.stat().st_mtime)
    spent: Counter[str] = Counter()
    for plane in jax.profiler.ProfileData.from_file(str(newest)).planes:
        for line in plane.lines:
            spent.update(
                own_time(
                    (event.name.rstrip("0123456789."), int(event.start_ns), int(event.end_ns))
                    for event in line.events
                    if any(name == "hlo_op" for name, _ in event.stats)
                )
            )
    whole = spent.total()
    return (
        ", ".join(f"{name} {100 * share / whole:.0f} %" for name, share in spent.most_common(NAMED)) or "no operations"
    )


def own_time(spans: Iterable[tuple[str, int, int]]) -> Counter[str]:
    """Nanoseconds by name in the (name, start, end) spans of one thread, without those of the spans inside."""
    spent: Counter[str] = Counter()
    open_spans: list[tuple[str, int]] = []  # name and end, the outermost first
    for name, start, end in sorted(spans, key=lambda span: (span[1], -span[2])):
        while open_spans and open_spans[-1][1] <= start:
            open_spans.pop()
        if open_spans:
            spent[open_spans[-1][0]] -= end - start
        spent[name] += end - start
        open_spans.append((name, end))
    return spent
