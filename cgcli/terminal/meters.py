"""Two displays of `core.progress`: live bars on a terminal (rich), and occasional lines elsewhere.

rich takes 0.1 s to import, so it is imported for the first bar. Rates are in units per second since the task began:
what was done before, as in a resumed download, counts for the percentage but not for the rate.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Self, TextIO

from cgcli.core.progress import Task, Unit
from cgcli.terminal.text import clock, one_line, size

if TYPE_CHECKING:
    import rich.progress

# A line at every tenth, at least and at most so many seconds after the previous one.
LINE_SECONDS = (2.0, 10.0)
TENTHS = 10


def facts(done: int, total: int | None, rate: float | None, unit: Unit, status: str = "") -> str:
    """Progress, rate, time left and status: '45 % of 1.2 GB, 13.0 MB/s, 0:51 left'."""
    amount = size if unit == "bytes" else str
    if total is None:
        parts = [amount(done)] if done else []
    elif unit == "bytes":
        parts = [f"{percent(done, total)} % of {size(total)}"]
    else:
        parts = [f"{done} of {total}"]
    if rate:
        if unit == "bytes":
            parts.append(f"{size(rate)}/s")
        elif unit == "samples":
            parts.append(f"{rate:.1f}/s" if rate >= 1 else f"{60 * rate:.1f}/min")
        if total is not None and done < total:
            parts.append(f"{clock((total - done) / rate)} left")
    return ", ".join([*parts, status] if status else parts)


def percent(done: int, total: int) -> int:
    """Rounded down, so that 100 means all of it; an empty task is done."""
    return 100 * done // total if total else 100


class ProgressLines:
    """Progress as plain lines, for logs and pipes."""

    def __init__(self, say: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._now = now

    def task(self, label: str, total: int | None, *, unit: Unit = "bytes", done: int = 0) -> Task:
        return _LineTask(label, total, unit, done, self._say, self._now)

    def note(self, message: str) -> None:
        self._say(message)


class _LineTask:
    def __init__(
        self, label: str, total: int | None, unit: Unit, done: int, say: Callable[[str], None], now: Callable[[], float]
    ) -> None:
        self._label, self._total, self._unit, self._done = label, total, unit, done
        self._say, self._now = say, now
        self._before = done
        self._status = ""
        self._started = self._said = now()
        self._tenth = self._tenths()

    def _tenths(self) -> int:
        return TENTHS * self._done // self._total if self._total else 0

    def _rate(self) -> float | None:
        elapsed = self._now() - self._started
        return (self._done - self._before) / elapsed if elapsed > 0 else None

    def advance(self, amount: int) -> None:
        self._done += amount
        if self._done == self._total:
            return  # reported at the end
        waited = self._now() - self._said
        soonest, latest = LINE_SECONDS
        if waited >= latest or (waited >= soonest and self._tenths() > self._tenth):
            self._said, self._tenth = self._now(), self._tenths()
            self._say(f"{self._label}: {facts(self._done, self._total, self._rate(), self._unit, self._status)}")

    def status(self, text: str) -> None:
        self._status = text

    def __enter__(self) -> Self:
        self._say(f"{self._label} …")
        return self

    def __exit__(self, *exception: object) -> None:
        if exception[0] is None:
            how = facts(self._done, None, self._rate(), self._unit, self._status)
            self._say(f"{self._label}: {how}{', ' * bool(how)}took {clock(self._now() - self._started)}")


class ProgressBars:
    """Progress as bars that are redrawn in place, with other lines printed above them."""

    def __init__(self, stderr: TextIO, *, colored: bool, note: Callable[[str], None]) -> None:
        self._stderr = stderr
        self._colored = colored
        self._note = note
        self._live: rich.progress.Progress | None = None

    def note(self, message: str) -> None:
        self._note(message)

    def task(self, label: str, total: int | None, *, unit: Unit = "bytes", done: int = 0) -> Task:
        return _BarTask(self, label, total, unit, done)

    def print_above(self, line: str) -> bool:
        """Print a line above the bars. Returns False if no bar is shown."""
        live = self._live  # another thread may end it
        if live is None:
            return False
        live.console.print(line, markup=False, highlight=False, soft_wrap=True)
        return True

    def start(self, label: str, total: int | None, unit: Unit, done: int) -> rich.progress.TaskID:
        if self._live is None:
            self._live = self._draw()
            self._live.start()
        return self._live.add_task(one_line(label), total=total, completed=done, unit=unit, status="")

    def advance(self, task: rich.progress.TaskID, amount: int) -> None:
        if self._live is not None:
            self._live.advance(task, amount)

    def status(self, task: rich.progress.TaskID, text: str) -> None:
        if self._live is not None:
            self._live.update(task, status=text)

    def stop(self, task: rich.progress.TaskID) -> None:
        """Freeze the bar of `task`; after the last one, end the live display."""
        if self._live is None:
            return
        self._live.stop_task(task)
        if all(one.stop_time is not None for one in self._live.tasks):
            self._live.stop()
            self._live = None

    def _draw(self) -> rich.progress.Progress:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
        from rich.progress import Task as RichTask
        from rich.text import Text

        class Facts(ProgressColumn):
            def render(self, task: RichTask) -> Text:
                unit, status = task.fields["unit"], one_line(task.fields["status"])
                if task.finished or task.stop_time is not None:
                    how = facts(int(task.completed), None, None, unit, status)
                    return Text(f"{how}{', ' * bool(how)}took {clock(task.elapsed or 0)}")
                total = None if task.total is None else int(task.total)
                how = facts(int(task.completed), total, task.speed, unit, status)
                # The clock moves even before the first step is done.
                return Text(how if task.speed else f"{how}{', ' * bool(how)}{clock(task.elapsed or 0)}")

        console = Console(file=self._stderr, force_terminal=True, no_color=not self._colored)
        label = TextColumn("{task.description}", markup=False)
        # A step of training may take minutes, so rich's default of 30 s would show no rate and no time left.
        period_s = 1800
        return Progress(
            label,
            BarColumn(bar_width=24),
            Facts(),
            console=console,
            redirect_stdout=False,
            speed_estimate_period=period_s,
        )


class _BarTask:
    def __init__(self, bars: ProgressBars, label: str, total: int | None, unit: Unit, done: int) -> None:
        self._bars, self._label, self._total, self._unit, self._done = bars, label, total, unit, done
        self._task: rich.progress.TaskID | None = None

    def advance(self, amount: int) -> None:
        if self._task is not None:
            self._bars.advance(self._task, amount)

    def status(self, text: str) -> None:
        if self._task is not None:
            self._bars.status(self._task, text)

    def __enter__(self) -> Self:
        self._task = self._bars.start(self._label, self._total, self._unit, self._done)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._task is not None:
            self._bars.stop(self._task)
