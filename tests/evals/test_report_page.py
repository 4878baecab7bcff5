"""The HTML page of a report: self-contained, accessible, escaped and reproducible."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from cgcli.evals.passk import Mean
from cgcli.evals.report.numbers import published
from cgcli.evals.report.page import page
from cgcli.evals.report.parts import difference, rate, share
from cgcli.evals.report.runs import read_runs
from cgcli.evals.report.sections import sections
from tests.evals.run_files import humaneval, mtpb, task, write
from tests.support.patience import PATIENCE_S

pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'cgcli[report]'")
VOID = {"meta", "br", "path", "use", "rect"}
MEASURE = """
document.querySelector("iframe").onload = event => {
  const page = event.target.contentDocument, charts = [...page.querySelectorAll("svg")];
  document.body.dataset.seen = [
    event.target.contentWindow.innerWidth,
    page.documentElement.scrollWidth,
    Math.max(...charts.map(chart => chart.getBoundingClientRect().right)),
    getComputedStyle(page.body).backgroundColor,
  ].join("|");
};
"""
EVIL = '$x_1$ <script>"1" &'


class Elements(HTMLParser):
    """All elements in order, their text by name, and a check that each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.text.append((self.open[-1], data))

    def named(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.all if tag == name]


def made(folder: Path, model: str = "codegen-350m-mono") -> str:
    files = [humaneval(folder / "h.jsonl", model=model), mtpb(folder / "m.jsonl", model=model)]
    runs = read_runs(files, {})
    return page(sections(runs, published(runs)), "A report")


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    return made(tmp_path_factory.mktemp("report"))


def test_the_page_loads_nothing(html: str) -> None:
    elements = Elements(html)
    assert elements.open == []
    assert not {tag for tag, _ in elements.all} & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in elements.all:
        for name, value in attributes.items():
            if name in {"src", "href", "xlink:href", "srcset", "poster", "action", "data"}:
                assert value and (value.startswith("#") or (tag == "a" and value.startswith("https://")))
            assert not name.startswith("on")
    assert not re.search(r"@import|url\((?!#)", html)
    (policy,) = (one["content"] for one in elements.named("meta") if one.get("http-equiv"))
    assert policy and policy.startswith("default-src 'none'")


def test_links_are_the_published_numbers_sources(html: str) -> None:
    links = [one["href"] for one in Elements(html).named("a")]
    assert len(links) == 2 and all(link and "[" not in link for link in links)


def test_tables_have_headers_and_charts_have_descriptions(html: str) -> None:
    elements = Elements(html)
    charts, tables = elements.named("svg"), elements.named("table")
    assert len(charts) == 7 - 1 and len(tables) >= 9  # no categories: the rows do not tell them
    words = {value for tag, value in elements.text if tag in {"title", "desc"} and value.strip()}
    assert len(elements.named("title")) == len(charts) + 1 and "pass rate by difficulty, with intervals" in words
    for chart in charts:
        assert chart["role"] == "img" and chart["aria-labelledby"]
    names = [attributes["id"] for _, attributes in elements.all if "id" in attributes]
    assert len(set(names)) == len(names)
    for _, attributes in elements.all:
        for reference in (attributes.get("aria-labelledby") or "").split():
            assert reference in names
        for reference in re.findall(r"url\(#([^)]*)\)", attributes.get("clip-path") or ""):
            assert reference in names
    for use in elements.named("use"):
        assert (use["xlink:href"] or "").removeprefix("#") in names
    headers = elements.named("th")
    assert headers and all(header.get("scope") in {"col", "row"} for header in headers)


def test_charts_use_the_colors_and_fonts_of_the_page(html: str) -> None:
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        assert not re.search(r"#[0-9a-f]{6}\b(?!\d)[;\"]", svg), "a color of matplotlib's"
        assert "font-family" not in svg and "<text" in svg and "var(--ink)" in svg


def test_models_without_published_perplexities_have_no_row_for_them(tmp_path: Path) -> None:
    run = read_runs([mtpb(tmp_path / "m.jsonl", model="codegen-350m-mono")], {})
    (table,) = (
        table
        for section in sections(run, published(run))
        for table in section.tables
        if table.caption == "MTPB: mean perplexity of the prompts"
    )
    models = [row[0] for row in table.rows]
    assert models == ["codegen-350m-mono", "codegen-16b-mono"]


def test_numbers_in_the_page(html: str) -> None:
    cells = {text for tag, text in Elements(html).text if tag in {"td", "th"}}
    assert {"12.8", "published [1]", "50.0 (0.0–100.0)", "17.0", "5.8"} <= cells
    text = " ".join(text for _, text in Elements(html).text)
    for words in (
        "Problem 10: the second and fifth",
        "Problem 41: two inputs expect None",
        "cgcli eval humaneval -m codegen-350m-mono:q4_0",
    ):
        assert words in text


def test_values_of_rows_are_escaped(tmp_path: Path) -> None:
    elements = Elements(made(tmp_path, EVIL))
    assert "script" not in {tag for tag, _ in elements.all}
    shown = {tag for tag, text in elements.text if EVIL in text}
    assert {"text", "th", "td", "h2", "code"} <= shown


def test_the_same_runs_give_the_same_page(tmp_path: Path, html: str) -> None:
    assert made(tmp_path) == html


def test_incomplete_runs_are_marked(tmp_path: Path) -> None:
    rows = [task(number, 0, "passed") for number in range(3)] + [task(0, 0, "passed", temperature=0.8)]
    told = next(iter(sections(read_runs([write(tmp_path / "h.jsonl", rows)], {}), []))).listed
    assert told == [
        "HumanEval, codegen-350m-mono: covers only 1 to 3 of 164 problems; not comparable with published numbers",
        "HumanEval, codegen-350m-mono: temperatures cover different problems; the best is one that covers all of them",
    ]
    rows = [task(number, 0, "passed") for number in range(164)]
    assert not next(iter(sections(read_runs([write(tmp_path / "h.jsonl", rows)], {}), []))).listed


def test_numbers_are_written_with_their_intervals() -> None:
    assert rate(0.128, (0.091, 0.169)) == "12.8 (9.1–16.9)"
    assert rate(0.0) == "0.0" and rate(None) == "–"
    assert difference(Mean(0.031, (-0.002, 0.064))) == "+3.1 (−0.2 to +6.4)"
    assert difference(Mean(0.0, None)) == "+0.0"
    assert share(0.128, (0.091, 0.169)) == "12.8 % (9.1 to 16.9)"
    assert share(0.0, None) == "0.0 %" and share(None, None) == "-"


def luminance(color: str) -> float:
    """Source: WCAG 2.2, relative luminance."""
    parts = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_contrast_light_and_dark(html: str) -> None:
    """4.5 for text, 3 for graphics (WCAG 2.2, 1.4.3 and 1.4.11)."""
    schemes = [
        dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", html, re.DOTALL)
    ]
    assert len(schemes) == 2
    for colors in schemes:
        paper = luminance(colors["paper"])
        for name in colors.keys() - {"paper", "faint"}:
            low, high = sorted((paper, luminance(colors[name])))
            assert (high + 0.05) / (low + 0.05) >= (3 if name.startswith("series") else 4.5), name


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_in_a_browser_without_a_network(tmp_path: Path, width: int, dark: bool) -> None:
    long = task(0, 0, "passed", model="/models/" + "a-long-name-of-a-model" * 4 + ".gguf")
    files = [humaneval(tmp_path / "h.jsonl"), mtpb(tmp_path / "m.jsonl"), write(tmp_path / "l.jsonl", [long])]
    runs = read_runs(files, {})
    html = page(sections(runs, published(runs)), "A report")
    (tmp_path / "report.html").write_text(html)
    _, said = browse(tmp_path / "report.html", width, dark)
    assert "CONSOLE" not in said
    # A window has a least width, a frame has none. The page itself allows no script: it is measured from outside.
    frame = f'<iframe width={width} height=900 style="border: 0" srcdoc="{escape(html)}"></iframe>'
    (tmp_path / "measured.html").write_text(f"<!DOCTYPE html><body>{frame}<script>{MEASURE}</script></body>")
    shown, said = browse(tmp_path / "measured.html", width, dark)
    found = re.search(r'data-seen="([^"]*)"', shown)
    assert found, said
    window, content, chart, color = found[1].split("|")
    assert int(window) == width and int(content) <= width and 340 < float(chart) <= width
    assert color == ("rgb(23, 24, 26)" if dark else "rgb(253, 253, 252)")


def browse(path: Path, width: int, dark: bool) -> tuple[str, str]:
    """The page's DOM in a headless Chromium, and what Chromium logged."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no Chromium here")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--enable-logging=stderr"]
    options += [f"--window-size={width},900", f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    options += [f"--user-data-dir={path.parent / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND"]
    done = subprocess.run([browser, *options, path.as_uri()], capture_output=True, timeout=PATIENCE_S, check=True)
    return done.stdout.decode(), done.stderr.decode()
