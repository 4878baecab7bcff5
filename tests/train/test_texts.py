"""Which texts are used: the paper's rules, each at its bound; duplicates; the share that is held out."""

from __future__ import annotations

import pytest

from cgcli.train.texts import DuplicateFilter, fault, in_share


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1\n", None),
        ("", "empty"),
        (" \n\t\n", "empty"),
        ("y" * 99 + "\n", None),
        ("y" * 100 + "\n", "mean line of 100 characters or more"),
        ("y\n" * 20 + "y" * 1000 + "\n", None),
        ("y\n" * 20 + "y" * 1001 + "\n", "line over 1000 characters"),
        ("é\n" * 20 + "é" * 1000 + "\n", None),  # characters, not bytes
        ("0123456789abcdefABC xyz\n", None),  # 19 of 22
        ("0123456789abcdefAB xy\n", None),  # 18 of 20 is not over nine tenths
        ("0123456789abcdefABC xy\n", "over 90% digits"),  # 19 of 21
        ("00 ff\n" * 50 + "# a table\n", "over 90% digits"),
    ],
)
def test_rules(text: str, told: str | None) -> None:
    assert fault(text) == told


def test_each_text_once() -> None:
    duplicates = DuplicateFilter()
    assert [duplicates.seen(text) for text in ("a", "b", "a", "a ", "b")] == [False, False, True, False, True]


def test_a_share_is_drawn_by_name() -> None:
    names = [f"package {number}" for number in range(4000)]
    taken = {name for name in names if in_share(name, 0, 0.1)}
    assert 320 <= len(taken) <= 480  # 400, and four deviations of 19
    assert {name for name in names[::2] if in_share(name, 0, 0.1)} == taken.intersection(names[::2])
    assert taken < {name for name in names if in_share(name, 0, 0.2)}
    assert taken != {name for name in names if in_share(name, 1, 0.1)}
    assert not any(in_share(name, 0, 0.0) for name in names)
    assert all(in_share(name, 0, 1.0) for name in names)
