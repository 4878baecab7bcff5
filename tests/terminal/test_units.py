"""Amounts as people read them."""

from __future__ import annotations

import pytest

from cgcli.terminal.text import clock, compact, plural, size


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (98_362_432, "98.4 MB"),
        (999_960, "1.0 MB"),  # 1000.0 kB is no such thing
        (999_949_999, "999.9 MB"),
        (73e9, "73.0 GB"),
        (5e15, "5000.0 TB"),
    ],
)
def test_size(count: float, shown: str) -> None:
    assert size(count) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (3600, "1:00:00")])
def test_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


@pytest.mark.parametrize(("count", "shown"), [(0, "0 lines"), (1, "1 line"), (2, "2 lines"), (3000, "3,000 lines")])
def test_plural(count: int, shown: str) -> None:
    assert plural(count, "line") == shown


@pytest.mark.parametrize(("number", "shown"), [(7, "7"), (1500, "1.5 k"), (1_234_567, "1.23 M"), (16e9, "16 B")])
def test_compact(number: float, shown: str) -> None:
    assert compact(number) == shown
