"""Amounts as people type them."""

from __future__ import annotations

import pytest

from cgcli.core.errors import UsageError
from cgcli.core.units import parse_bytes, parse_seconds


@pytest.mark.parametrize(("text", "seconds"), [("20", 20), ("20s", 20), ("0.5 s", 0.5), ("2m", 120), ("1H", 3600)])
def test_seconds(text: str, seconds: float) -> None:
    assert parse_seconds(text, "--time") == seconds


@pytest.mark.parametrize(
    ("text", "count"), [("2147", 2147 * 10**6), ("2GB", 2 * 10**9), ("512m", 512 * 10**6), ("1.5GiB", 3 * 2**29)]
)
def test_bytes(text: str, count: int) -> None:
    assert parse_bytes(text, "--memory") == count


@pytest.mark.parametrize("text", ["", "s", "-1", "1 fortnight", "1e3", "20s s", "nan", "٣"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--time is .* not a time$") as refused:
        parse_seconds(text, "--time")
    assert refused.value.hint == "give seconds or a unit, such as --time 20s"
    with pytest.raises(UsageError, match=r"^--memory is .* not a size$"):
        parse_bytes(text, "--memory")
