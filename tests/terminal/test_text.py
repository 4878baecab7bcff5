"""Text that a terminal shows: what it may not act on, and how wide it is."""

from __future__ import annotations

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgcli.terminal.text import clipped, columns, visible, wrapped

TEXT = st.text(st.sampled_from("ab 1\té日本\u0301…\x1b\n\udce9"), max_size=30).map(visible)


@pytest.mark.parametrize(("text", "wide"), [("", 0), ("abc", 3), ("日本", 4), ("e\u0301", 1), ("a\tb", 9), ("\t", 8)])
def test_columns(text: str, wide: int) -> None:
    assert columns(text) == wide


@given(TEXT)
def test_columns_are_the_terminals(text: str) -> None:
    screen = pyte.Screen(500, 2)
    pyte.Stream(screen).feed(text)
    assert columns(text) == screen.cursor.x


@given(TEXT, st.integers(0, 40))
def test_clipped_text_fits_and_says_that_it_was_cut(text: str, width: int) -> None:
    short = clipped(text, width)
    assert columns(short) <= width and "\t" not in short
    whole = clipped(text, 1000)
    assert short == whole or (short == "" and width == 0) or whole.startswith(short.removesuffix("…"))
    assert (short == whole) or columns(whole) >= width


@pytest.mark.parametrize(
    ("text", "width", "short"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("日本", 3, "日…"),
        ("日本", 4, "日本"),
        ("a\tb", 9, "a       b"),
        ("ab", 0, ""),
    ],
)
def test_clipped(text: str, width: int, short: str) -> None:
    assert clipped(text, width) == short


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("one two", ["one two"]),
        ("one two three", ["one two", "three"]),
        ("  one  two  three", ["  one  two", "three"]),
        ("to /a/longer/path and on", ["to", "/a/longer/path", "and on"]),
        ("日本 日本 日本", ["日本 日本", "日本"]),
        ("a\x1b\x1b b c", ["a\x1b\x1b b", "c"]),
    ],
)
def test_lines_are_broken_at_blanks(text: str, lines: list[str]) -> None:
    assert wrapped(text, 11) == lines


@given(TEXT, st.integers(1, 40))
def test_wrapped_lines_fit_and_lose_blanks_alone(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert all(columns(line) <= width or " " not in line.strip(" ") for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
