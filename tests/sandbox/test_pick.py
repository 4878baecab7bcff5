"""Candidates by what they do: the largest group's most probable first, failures last."""

from __future__ import annotations

import pytest

from cgcli.core.errors import Interrupted, UsageError
from cgcli.sandbox.pick import checking, ranked
from cgcli.sandbox.policy import Policy

HOST = Policy(unsafe=True)  # what is picked does not depend on how it is run


def order(*programs: tuple[str, float], checks: tuple[str, ...] = ()) -> list[int]:
    return [tried.index for tried in ranked([(text.encode(), p) for text, p in programs], HOST, checks=checks)]


def test_the_largest_group_wins_and_in_it_the_most_probable() -> None:
    assert order(("print(1)", -0.1), ("print(2)", -0.5), ("print(1 + 1)", -0.3), ("1 / 0", -0.01)) == [2, 1, 0, 3]


def test_failures_are_no_group_and_come_last_by_probability() -> None:
    assert order(("1 / 0", -0.1), ("1 / 0", -0.05), ("print(3)", -9.0)) == [2, 1, 0]


def test_a_check_that_does_not_hold_is_a_failure() -> None:
    programs = [("def f(x):\n    return x", -0.1), ("def f(x):\n    return x * x", -0.9), ("def g(x): pass", -0.01)]
    assert order(*programs) == [2, 0, 1]
    assert order(*programs, checks=("f(2) == 4", "f(3) == 9"))[0] == 1
    first, *others = ranked([(text.encode(), p) for text, p in programs], HOST, checks=("f(2) == 4",))
    assert first.verdict.passed and [one.verdict.passed for one in others] == [False, False]
    assert "check: f(2) == 4" in {one.verdict.detail.partition(", ")[0].partition("Error: ")[2] for one in others}


@pytest.mark.parametrize("check", ["f(2) = 4", "import os", "f(", "x\0"])
def test_a_check_is_an_expression(check: str) -> None:
    with pytest.raises(UsageError, match="no expression"):
        checking([check])


def test_ctrl_c_ends_it() -> None:
    with pytest.raises(Interrupted):
        ranked([(b"while True: pass", 0.0)] * 3, HOST, interrupted=lambda: True)
