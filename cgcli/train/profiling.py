"""A trace of a few steps, and the operations that took longest in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import jax

FIRST, LAST = 3, 5  # steps: the first compiles, the second finds caches cold
NAMED = 5  # operations in the summary


class Profiler:
    """Traces steps FIRST to LAST, counted from where a run begins or goes on, into `folder`. A context manager.

    tell: given one line about what was traced.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self._folder = folder
        self._tell = tell
        self._step = 0
        self._running = False

    def before(self) -> None:
        """A step is about to begin."""
        self._step += 1
        if self._step == FIRST:
            jax.profiler.start_trace(self._folder)
            self._running = True

    def after(self) -> None:
        """A step is done."""
        if self._step == LAST:
            self._stop()

    def _stop(self) -> None:
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
            count = min(self._step, LAST) - FIRST + 1
            self._tell(f"profile of {count} steps in {self._folder}: {summary(self._folder)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()


def summary(folder: Path) -> str:
    """The operations of the newest trace in `folder` that took longest, with their shares of all operations' time.

    An operation's time is its own: a loop's is without what runs in it.
    """
    newest = max(folder.rglob("*.xplane.pb"), key=lambda file: file.stat().st_mtime)
    spent: Counter[str] = Counter()
    for plane in jax.profiler.ProfileData.from_file(str(newest)).planes:
        for line in plane.lines:
            spent.update(
                own(
                    (event.name.rstrip("0123456789."), int(event.start_ns), int(event.end_ns))
                    for event in line.events
                    if any(name == "hlo_op" for name, _ in event.stats)
                )
            )
    whole = spent.total()
    return (
        ", ".join(f"{name} {100 * share / whole:.0f} %" for name, share in spent.most_common(NAMED)) or "no operations"
    )


def own(spans: Iterable[tuple[str, int, int]]) -> Counter[str]:
    """Each name's own nanoseconds, of one thread's (name, start, end) spans: without those of the spans inside."""
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
