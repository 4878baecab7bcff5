"""A report as one self-contained HTML page that loads nothing; for light and dark mode and any width."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from itertools import count

from cgcli.evals.report.parts import Section, Table
from cgcli.evals.report.plots import chart_svg

_STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fdfdfc; --ink: #1d1d1b; --muted: #5c5b57; --faint: #e2e1dc; --link: #0a58a8;
  --series-1: #1668b3; --series-2: #c2571a; --series-3: #7160b0; --series-4: #86837c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #17181a; --ink: #e8e7e3; --muted: #a5a49e; --faint: #35373a; --link: #7db7f2;
    --series-1: #5aa5ea; --series-2: #ee8f4f; --series-3: #a798e6; --series-4: #85847f;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 76rem; overflow-wrap: break-word;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums;
}
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0; }
h2 { font-size: 1.2rem; margin: 3rem 0 .5rem; }
p, ul { max-width: 44rem; margin: .5rem 0; }
ul { padding-left: 1.1rem; }
a { color: var(--link); }
.charts { display: flex; flex-wrap: wrap; gap: 1.5rem 2rem; margin: 1.25rem 0; }
figure { margin: 0; max-width: 100%; }
h3 { font-size: .9rem; margin: 0 0 .35rem; }
svg { display: block; max-width: 100%; height: auto; overflow: visible; }
.tables { display: flex; flex-wrap: wrap; gap: 1.5rem 2rem; margin: 1.25rem 0; }
.table { max-width: 100%; }
.scroll { overflow-x: auto; }
.scroll:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .3rem 1.25rem .3rem 0; text-align: right; white-space: nowrap; }
tr { border-bottom: 1px solid var(--faint); }
th { font-weight: 400; }
thead th { color: var(--muted); vertical-align: bottom; }
.word { text-align: left; }
pre {
  margin: 1rem 0; white-space: pre-wrap; overflow-wrap: anywhere;
  font: .85rem/1.6 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
}
"""


def page(sections: Iterable[Section], title: str) -> str:
    """The whole page. Raises CgcliError if matplotlib is not installed."""
    numbers = count(1)
    body = "\n".join(line for section in sections for line in _section(section, numbers))
    # With this policy the browser enforces that the page loads nothing.
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{_text(title)}</title>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style>\n</head>\n'
        f"<body>\n<main>\n<h1>{_text(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _section(section: Section, numbers: Iterator[int]) -> Iterator[str]:
    yield f"<section>\n<h2>{_text(section.title)}</h2>"
    yield from (f"<p>{_text(text)}</p>" for text in section.text)
    if section.charts:
        yield '<div class="charts">'
        for chart in section.charts:
            drawn = chart_svg(chart, f"chart{next(numbers)}")
            yield f"<figure><h3>{_text(chart.title)}</h3>{drawn}</figure>"
        yield "</div>"
    if section.tables:
        yield '<div class="tables">'
        for table in section.tables:
            yield from _table(table, f"table{next(numbers)}")
        yield "</div>"
    if section.listed:
        yield "<ul>"
        yield from (f"<li>{_with_links(line)}</li>" for line in section.listed)
        yield "</ul>"
    yield from (f"<pre><code>{_text(command)}</code></pre>" for command in section.commands)
    yield "</section>"


def _table(table: Table, name: str) -> Iterator[str]:
    """In a box that scrolls, also by keyboard, if the page is narrower than the table."""
    yield f'<div class="table"><h3 id="{name}">{_text(table.caption)}</h3>'
    yield f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{name}"><table aria-labelledby="{name}">'
    yield f"<thead><tr>{_cells(table.header, table.labels, 'col')}</tr></thead>\n<tbody>"
    for row in table.rows:
        first, rest = _cells(row[:1], table.labels, "row"), _cells(row[1:], table.labels - 1)
        yield f"<tr>{first}{rest}</tr>"
    yield "</tbody></table></div></div>"


def _cells(cells: Iterable[str], words: int, scope: str = "") -> str:
    """`words` is the number of leading cells that are not numbers; headers have a `scope`."""
    name = "th" if scope else "td"
    return "".join(
        f"<{name}{f' scope={scope}' * bool(scope)}{' class=word' * (number < words)}>{_text(cell)}</{name}>"
        for number, cell in enumerate(cells)
    )


def _text(text: str) -> str:
    return html.escape(text)


def _with_links(text: str) -> str:
    """The text with its URLs as links."""
    return re.sub(r"https?://[^\s,;]+", lambda found: f'<a href="{found[0]}">{found[0]}</a>', _text(text))
