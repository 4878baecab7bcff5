"""One line on the state of things, in as much room as there is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgcli.repl.reader import Status
from cgcli.repl.terminal import toolbar
from cgcli.terminal.text import columns

FULL = Status(
    model="codegen-350m-mono",
    quant="q4_0",
    turn=12,
    tokens=812,
    window=2048,
    tokens_per_s=41.3,
    clarity="unclear",
    perplexity=123.4,
    branch="other way",
    state="loading…",
    stale=2,
)


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (
            200,
            "loading… · codegen-350m-mono q4_0 · turn 12 · ▰▰▰▰▱▱▱▱▱▱ 812/2048 tokens · ▮▯▯ unclear 123 · 41 tokens/s"
            " · branch other way · 2 stale",
        ),
        (80, "loading… · turn 12 · 812/2048 tokens · unclear 123 · branch other way · 2 stale"),
        (60, "loading… · turn 12 · 812/2048 tokens · unclear 123 · 2 stale"),
        (40, "loading… · 812/2048 tokens · unclear 123"),
        (30, "loading… · 812/2048 tokens"),
        (12, "loading…"),
        (5, "load…"),
    ],
)
def test_the_least_important_goes_first(width: int, line: str) -> None:
    assert toolbar(FULL, width) == line


def test_quant_and_rate_stand_in_80_columns() -> None:
    usual = replace(FULL, state="", branch="main", stale=0)
    assert toolbar(usual, 80) == "codegen-350m-mono q4_0 · turn 12 · 812/2048 tokens · unclear 123 · 41 tokens/s"


def test_what_is_not_known_is_not_shown() -> None:
    assert toolbar(Status(), 80) == "turn 1"
    assert toolbar(Status(branch="main", perplexity=2.04), 80) == "turn 1 · perplexity 2.0"
    assert toolbar(Status(state="loading…"), 80) == "loading… · turn 1"


@pytest.mark.parametrize(("tokens", "full"), [(0, 0), (1, 1), (1024, 5), (2048, 10), (5000, 10)])
def test_the_bar(tokens: int, full: int) -> None:
    assert toolbar(Status(tokens=tokens, window=2048), 80).count("▰") == full


@given(
    st.builds(
        Status,
        model=st.text(max_size=60),
        quant=st.text(max_size=10),
        turn=st.integers(1, 10**6),
        tokens=st.integers(0, 10**6),
        window=st.integers(0, 10**6),
        tokens_per_s=st.none() | st.floats(0, 1e6),
        clarity=st.sampled_from(["", "clear", "fair", "unclear"]),
        perplexity=st.none() | st.floats(1, allow_nan=False),
        branch=st.text(max_size=40),
        state=st.text(max_size=40),
        stale=st.integers(0, 100),
    ),
    st.integers(1, 250),
)
def test_it_never_wraps_and_never_drives_the_terminal(status: Status, width: int) -> None:
    line = toolbar(status, width)
    assert columns(line) <= width
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in line)
