"""Charts as SVG that stands inside a page and takes its colours and letters. The only place that imports matplotlib.

matplotlib draws with colours that stand for names; the names are put in afterwards, as CSS variables: `--ink`,
`--faint`, `--paper`, and `--series-1` to `--series-4`. A chart is `WIDTH` CSS pixels wide: readable on a phone, too.
"""

from __future__ import annotations

import html
import io
import re
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
"""Pixels: at the sides, of a line's label, of each mark, between lines, of the scale, of a line of the legend."""
_CURVE, _VALUES = 220, 52
"""Pixels: height of a curve's chart, and what the numbers on its left take."""
_DPI = 72  # then a pixel is a point, matplotlib's unit
_LETTERS = 44
_LEGEND_COLUMNS = 2
_INK, _FAINT, _PAPER = "#010101", "#020202", "#070707"
_SERIES = ("#030303", "#040404", "#050505", "#060606")
_VARIABLES = {
    _INK: "var(--ink)",
    _FAINT: "var(--faint)",
    _PAPER: "var(--paper)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(_SERIES, 1)},
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
    """Raises CgcliError where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        raise CgcliError("a page with plots needs matplotlib", hint="pip install 'cgcli[report]'") from None
    import logging

    del matplotlib
    logging.getLogger("matplotlib").setLevel("ERROR")  # it tells of its font cache


def draw(chart: Chart | Curve, name: str) -> str:
    """The chart as an `<svg>` element. name: what no other chart of the page is called, a word."""
    from matplotlib import rc_context

    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure, height = _curve(chart) if isinstance(chart, Curve) else _lines(chart)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _element(text.getvalue(), chart, name, height)


def _figure(height: int, below: int, above: int, left: int = _MARGIN) -> tuple[Figure, Axes]:
    """Pixels: the whole height, and what of it is no plot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / _DPI, height / _DPI), dpi=_DPI)
    wide, high = 1 - (left + _MARGIN) / WIDTH, (height - below - above) / height
    return figure, figure.add_axes((left / WIDTH, below / height, wide, high))


def _lines(chart: Chart) -> tuple[Figure, int]:
    """With its height."""
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
        label = clipped(visible(line.label), _LETTERS)
        axes.text(0, top + _LABEL / 2, label, va="center", parse_math=False)
        (_stack if chart.stacked else _dots)(axes, line, series, top + _LABEL + _STEP / 2)
        top += own
    _legend(figure, axes)
    return figure, height


def _curve(curve: Curve) -> tuple[Figure, int]:
    """With its height."""
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
    """From 0, as far as there is anything."""
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
    """A dot a mark, one below another, each on its interval; hollow where others published it."""
    for number, mark in enumerate(line.marks):
        kind = series.index(mark.series)
        sure = None
        if mark.low is not None and mark.high is not None:
            sure = [[100 * (mark.value - mark.low)], [100 * (mark.high - mark.value)]]
        axes.errorbar(
            100 * mark.value,
            middle + _STEP * number,
            xerr=sure,
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
    """The marks as parts of one bar."""
    left = 0.0
    for mark in line.marks:
        colour = _SERIES[series.index(mark.series)]
        axes.barh(middle, 100 * mark.value, height=_STEP - 1, left=left, color=colour, label=mark.series)
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
    """What matplotlib wrote as an element of a page: no prologue, no ids that nothing refers to, the page's letters."""
    body = svg[svg.index("<g ") : svg.rindex("</svg>")]
    body = re.sub(r' id="([^"]*)"', lambda found: found[0] if f"#{found[1]}" in body else "", body)
    body = re.sub(r'font-family: [^;"]*; ', "", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, variable)
    title, about = html.escape(chart.title), html.escape(chart.about)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        f'aria-labelledby="{name}-title {name}-about">'
        f'<title id="{name}-title">{title}</title><desc id="{name}-about">{about}</desc>{body}</svg>'
    )
