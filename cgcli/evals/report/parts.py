"""The parts of a report in any format: sections with text, tables and charts, and how numbers are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cgcli.evals.passk import Mean
from cgcli.terminal.text import clipped

NONE = "–"  # in a cell without a number
_LABEL_WIDTH = 26


@dataclass(frozen=True)
class Table:
    """Rows of cells as they are shown."""

    caption: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    labels: int = 1  # the number of leading columns that are words, not numbers


@dataclass(frozen=True)
class Mark:
    """A value in a chart."""

    series: str
    value: float  # a fraction
    low: float | None = None  # of its interval
    high: float | None = None
    published: bool = False  # not measured in these runs


@dataclass(frozen=True)
class Line:
    """Values shown together under one label."""

    label: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Chart:
    """Fractions, shown as percentages."""

    title: str
    about: str  # a description for screen readers
    lines: Sequence[Line]
    stacked: bool = False  # a line's marks add up to 1 and form a bar


@dataclass(frozen=True)
class Curve:
    """A value that changes from step to step."""

    title: str
    about: str  # a description for screen readers
    points: Sequence[tuple[float, float]]  # (step, value)
    unit: str = "{:g}"  # the format of values on the axis


@dataclass(frozen=True)
class Section:
    """A part of a report under a heading."""

    title: str
    text: Sequence[str] = ()  # paragraphs
    tables: Sequence[Table] = ()
    charts: Sequence[Chart | Curve] = ()
    listed: Sequence[str] = ()  # items of a list after the tables
    commands: Sequence[str] = ()  # to copy and run


class Sources:
    """The sources of published numbers, numbered in the order in which they are cited."""

    def __init__(self) -> None:
        self.all: list[str] = []

    def cite(self, source: str) -> str:
        """The source's reference, such as `[1]`."""
        if source not in self.all:
            self.all.append(source)
        return f"[{self.all.index(source) + 1}]"


def rate(value: float | None, interval: Sequence[float] | None = None) -> str:
    """A fraction as a percentage: `12.8 (9.1–16.9)`."""
    if value is None:
        return NONE
    return f"{100 * value:.1f}" + (f" ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})" if interval else "")


def share(value: float | None, interval: Sequence[float] | None) -> str:
    """Like `rate`, with its unit: `12.8 % (9.1 to 16.9)`."""
    if value is None:
        return "-"
    return f"{100 * value:.1f} %" + (f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})" if interval else "")


def mean_rate(found: Mean | None) -> str:
    return rate(found.value, found.interval) if found else NONE


def difference(found: Mean) -> str:
    """A difference in percentage points, with its sign: `+3.1 (−0.2 to +6.4)`."""
    value, *ends = (f"{100 * one:+.1f}".replace("-", "−") for one in (found.value, *(found.interval or ())))
    return f"{value} ({' to '.join(ends)})" if ends else value


def perplexity_text(value: float | None, interval: Sequence[float] | None = None) -> str:
    if value is None:
        return NONE
    return f"{value:.2f}" + (f" ({interval[0]:.2f}–{interval[1]:.2f})" if interval else "")


def temperature_text(value: float | None) -> str:
    return "unknown" if value is None else "greedy" if value == 0 else f"{value:g}"


def run_name(label: str, quant: str, temperature: float | None) -> str:
    """A short name for a run at a temperature; labels that contain the temperature do not repeat it."""
    suffix = f"T {temperature:g}" if temperature else "greedy" if temperature == 0 else "temperature unknown"
    model = " ".join(filter(None, (clipped(label, _LABEL_WIDTH), quant)))
    return model if f"({suffix})" in label else f"{model}, {suffix}"


def count_text(value: float) -> str:
    return f"{value:,.0f}"
