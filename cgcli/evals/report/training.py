"""What a training run measured, as a section of a report: its curves, and what it came to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from cgcli.core.units import clock
from cgcli.evals.report.parts import Curve, Section, Table, count
from cgcli.train.metrics import Row

POINTS = 300
"""Of a curve at most: what lies between is in their means."""


def training(rows: Sequence[Row], title: str) -> Section:
    """Of a run's rows, one at least, by step."""
    size = -(-len(rows) // POINTS)
    parts = [rows[at : at + size] for at in range(0, len(rows), size)]
    charts = (
        _curve("Loss, nats a token", parts, lambda row: row.loss),
        _curve("Length of the gradient before clipping", parts, lambda row: row.grad_norm),
        _curve("Learning rate", parts, lambda row: row.lr),
        _curve("Tokens a second", parts, lambda row: row.tokens_per_s, unit="{:,.0f}"),
    )
    last, end = rows[-1], rows[-size:]
    found = (
        ("steps", count(last.step)),
        ("tokens", count(last.tokens)),
        ("time", clock(last.seconds)),
        ("tokens a second", count(last.tokens / last.seconds if last.seconds > 0 else 0)),
        ("share of the device's products a second", f"{100 * fmean(row.peak_share for row in rows):.0f} %"),
        ("last loss" if size == 1 else f"loss, mean of the last {size} steps", f"{fmean(row.loss for row in end):.4f}"),
    )
    text = [f"Each point is the mean of up to {size} steps."] if size > 1 else []
    return Section(
        title, text, [Table("What it came to", ("", "all starts together"), found)], list(filter(None, charts))
    )


def _curve(
    title: str, parts: Sequence[Sequence[Row]], value: Callable[[Row], float | None], unit: str = "{:.3g}"
) -> Curve | None:
    """A point a part, where any of its rows has the value; None where no row has."""
    points = []
    for part in parts:
        found = [number for row in part if (number := value(row)) is not None]
        if found:
            points.append((part[-1].step, fmean(found)))
    if not points:
        return None
    first, last = (unit.format(points[at][1]) for at in (0, -1))
    return Curve(title, f"{title}, by step: from {first} to {last}", points, unit)
