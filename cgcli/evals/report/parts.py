"""What a report is made of, whatever shows it: sections of text, tables and charts, and how numbers are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cgcli.evals.passk import Estimate
from cgcli.terminal.text import clipped

NONE = "–"
"""In a cell that has no number."""
_LETTERS = 26


@dataclass(frozen=True)
class Table:
    """Rows of cells as they are shown. labels: how many of the first columns are words, not numbers."""

    caption: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    labels: int = 1


@dataclass(frozen=True)
class Mark:
    """A value on a line of a chart, with its interval where it has one. published: it is not of these runs."""

    series: str
    value: float
    low: float | None = None
    high: float | None = None
    published: bool = False


@dataclass(frozen=True)
class Line:
    """What is shown beside each other under one label."""

    label: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Chart:
    """Parts of a whole, shown as per cent. about: for those who do not see it; stacked: a line's marks make it up."""

    title: str
    about: str
    lines: Sequence[Line]
    stacked: bool = False


@dataclass(frozen=True)
class Curve:
    """What changes step by step. about: for those who do not see it; points: (step, value); unit: how a value is
    written on the scale."""

    title: str
    about: str
    points: Sequence[tuple[float, float]]
    unit: str = "{:g}"


@dataclass(frozen=True)
class Section:
    """text: paragraphs; listed: lines to be listed after the tables; commands: to be typed."""

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    charts: Sequence[Chart | Curve] = ()
    listed: Sequence[str] = ()
    commands: Sequence[str] = ()


class Sources:
    """Where published numbers were read, numbered as they come up."""

    def __init__(self) -> None:
        self.all: list[str] = []

    def cite(self, source: str) -> str:
        """Its mark: `[1]`."""
        if source not in self.all:
            self.all.append(source)
        return f"[{self.all.index(source) + 1}]"


def rate(value: float | None, interval: Sequence[float] | None = None) -> str:
    """A part as per cent: `12.8 (9.1–16.9)`."""
    if value is None:
        return NONE
    return f"{100 * value:.1f}" + (f" ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})" if interval else "")


def share(value: float | None, interval: Sequence[float] | None) -> str:
    """As `rate`, to stand by itself: `12.8 % (9.1 to 16.9)`."""
    if value is None:
        return "-"
    return f"{100 * value:.1f} %" + (f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})" if interval else "")


def rate_of(found: Estimate | None) -> str:
    return rate(found.value, found.interval) if found else NONE


def difference(found: Estimate) -> str:
    """In points of per cent, with its sign: `+3.1 (−0.2 to +6.4)`."""
    value, *ends = (f"{100 * one:+.1f}".replace("-", "−") for one in (found.value, *(found.interval or ())))
    return f"{value} ({' to '.join(ends)})" if ends else value


def perplexity(value: float | None, interval: Sequence[float] | None = None) -> str:
    if value is None:
        return NONE
    return f"{value:.2f}" + (f" ({interval[0]:.2f}–{interval[1]:.2f})" if interval else "")


def temperature(value: float | None) -> str:
    return "not told" if value is None else "greedy" if value == 0 else f"{value:g}"


def named(label: str, quant: str, temperature: float | None) -> str:
    """A run at a temperature, in a few words; once, where the label tells it."""
    warmth = f"T {temperature:g}" if temperature else "greedy" if temperature == 0 else "temperature not told"
    model = " ".join(filter(None, (clipped(label, _LETTERS), quant)))
    return model if f"({warmth})" in label else f"{model}, {warmth}"


def count(value: float) -> str:
    return f"{value:,.0f}"
