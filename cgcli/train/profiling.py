"""Traces a few steps and summarizes the slowest operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

import jax

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
            jax.profiler.start_trace(self._folder)
            self._running = True

    def after(self) -> None:
        """Call after each step."""
        if self._step == LAST:
            self._stop()

    def _stop(self) -> None:
        if self._running:
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
