"""Charts as SVG elements that take the colors and fonts of their page. The only file that imports matplotlib.

matplotlib draws with placeholder colors, which are then replaced by CSS variables: `--ink`, `--faint`, `--paper`, and
`--series-1` to `--series-4`. A chart is `WIDTH` CSS pixels wide, so that it fits a phone.
"""

from __future__ import annotations

import html
import io
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cgcli.core.errors import CgcliError
from cgcli.evals.report.parts import Chart, Curve, Line
from cgcli.terminal.text import clipped, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 340
_MARGIN, _LABEL, _STEP, _GAP, _BELOW, _ABOVE = 18, 16, 13, 7, 24, 20
"""Pixels: the sides, a line's label, each mark, between lines, the axis, a row of the legend."""
_CURVE, _VALUES = 220, 52
"""Pixels: the height of a curve's chart, and the width of the numbers on its left."""
_DPI = 72  # a pixel is then one point, matplotlib's unit
_LABEL_WIDTH = 44  # characters
_LEGEND_COLUMNS = 2
_INK, _FAINT, _PAPER = "#010101", "#020202", "#070707"
_SERIES = ("#030303", "#040404", "#050505", "#060606")
_VARIABLES = {
    _INK: "var(--ink)",
    _FAINT: "var(--faint)",
    _PAPER: "var(--paper)",
    **{color: f"var(--series-{number})" for number, color in enumerate(_SERIES, 1)},
}
_MARKERS = "os"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 12,
    "text.color": _INK,
    "axes.edgecolor": _FAINT,
    "xtick.color": _FAINT,
    "xtick.labelcolor": _INK,
    "ytick.color": _FAINT,
    "ytick.labelcolor": _INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def check() -> None:
    """Raises CgcliError if matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        from cgcli.core.extras import packages

        raise CgcliError(
            "plots need matplotlib", hint=f"{sys.executable} -m pip install {packages('report')}"
        ) from None
    import logging

    del matplotlib
    logging.getLogger("matplotlib").setLevel("ERROR")  # it logs about its font cache


def chart_svg(chart: Chart | Curve, name: str) -> str:
    """The chart as an `<svg>` element. `name` is one word, unique in the page."""
    from matplotlib import rc_context

    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure, height = _curve(chart) if isinstance(chart, Curve) else _lines(chart)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _element(text.getvalue(), chart, name, height)


def _figure(height: int, below: int, above: int, left: int = _MARGIN) -> tuple[Figure, Axes]:
    """A figure with one plot. All arguments are pixels: the total height, and the margins around the plot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / _DPI, height / _DPI), dpi=_DPI)
    wide, high = 1 - (left + _MARGIN) / WIDTH, (height - below - above) / height
    return figure, figure.add_axes((left / WIDTH, below / height, wide, high))


def _lines(chart: Chart) -> tuple[Figure, int]:
    """The figure and its height in pixels."""
    marks = [mark for line in chart.lines for mark in line.marks]
    series = list(dict.fromkeys(mark.series for mark in marks))
    heights = [_LABEL + _STEP * (1 if chart.stacked else len(line.marks)) + _GAP for line in chart.lines]
    above = _ABOVE * -(-len({(mark.series, mark.published) for mark in marks}) // _LEGEND_COLUMNS)
    height = above + sum(heights) + _BELOW
    figure, axes = _figure(height, _BELOW, above)
    _scale(axes, chart)
    axes.set_ylim(sum(heights), 0)
    top = 0
    for line, own in zip(chart.lines, heights, strict=True):
        label = clipped(visible(line.label), _LABEL_WIDTH)
        axes.text(0, top + _LABEL / 2, label, va="center", parse_math=False)
        (_stack if chart.stacked else _dots)(axes, line, series, top + _LABEL + _STEP / 2)
        top += own
    _legend(figure, axes)
    return figure, height


def _curve(curve: Curve) -> tuple[Figure, int]:
    """The figure and its height in pixels."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    figure, axes = _figure(_CURVE, _BELOW, _LABEL // 2, left=_VALUES)
    axes.plot(*zip(*curve.points, strict=True), color=_SERIES[0], linewidth=1.5)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: curve.unit.format(value)))
    axes.tick_params(length=0)
    axes.grid(color=_FAINT, linewidth=1)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    return figure, _CURVE


def _scale(axes: Axes, chart: Chart) -> None:
    """Percentages from 0 to a little more than the highest value."""
    from matplotlib.ticker import MaxNLocator

    most = max((max(mark.value, mark.high or 0) for line in chart.lines for mark in line.marks), default=1)
    axes.set_xlim(0, 100 if chart.stacked else max(1, min(100, 105 * most)))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter("{x:g} %")
    axes.tick_params(length=0)
    axes.set_yticks([])
    axes.grid(axis="x", color=_FAINT, linewidth=1)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def _dots(axes: Axes, line: Line, series: Sequence[str], middle: float) -> None:
    """A dot for each mark, one below another, on its interval; published values are hollow."""
    for number, mark in enumerate(line.marks):
        kind = series.index(mark.series)
        interval = None
        if mark.low is not None and mark.high is not None:
            interval = [[100 * (mark.value - mark.low)], [100 * (mark.high - mark.value)]]
        axes.errorbar(
            100 * mark.value,
            middle + _STEP * number,
            xerr=interval,
            fmt=_MARKERS[kind],
            color=_SERIES[kind],
            markerfacecolor=_PAPER if mark.published else _SERIES[kind],
            markeredgewidth=1.5,
            markersize=7,
            linewidth=2,
            clip_on=False,
            label=mark.series + ", published" * mark.published,
        )


def _stack(axes: Axes, line: Line, series: Sequence[str], middle: float) -> None:
    """The marks as segments of one bar."""
    left = 0.0
    for mark in line.marks:
        color = _SERIES[series.index(mark.series)]
        axes.barh(middle, 100 * mark.value, height=_STEP - 1, left=left, color=color, label=mark.series)
        left += 100 * mark.value


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    shown = dict(zip(labels, handles, strict=True))
    figure.legend(
        shown.values(),
        shown.keys(),
        loc="upper left",
        ncols=_LEGEND_COLUMNS,
        frameon=False,
        borderpad=0,
        borderaxespad=0.4,
        handlelength=1.2,
        handletextpad=0.6,
        columnspacing=1.5,
    )


def _element(svg: str, chart: Chart | Curve, name: str, height: int) -> str:
    """matplotlib's SVG as an element of a page: without prologue, unused ids and fonts, with the page's colors."""
    body = svg[svg.index("<g ") : svg.rindex("</svg>")]
    body = re.sub(r' id="([^"]*)"', lambda found: found[0] if f"#{found[1]}" in body else "", body)
    body = re.sub(r'font-family: [^;"]*; ', "", body)
    for color, variable in _VARIABLES.items():
        body = body.replace(color, variable)
    title, about = html.escape(chart.title), html.escape(chart.about)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        f'aria-labelledby="{name}-title {name}-about">'
        f'<title id="{name}-title">{title}</title><desc id="{name}-about">{about}</desc>{body}</svg>'
    )
