"""Candidates are ranked by what they do: the most probable of the largest group first, failures last."""

from __future__ import annotations

import pytest

from cgcli.core.errors import Interrupted, UsageError
from cgcli.program.rank import Rank
from cgcli.sandbox.pick import check_expressions, run_and_rank
from cgcli.sandbox.policy import Policy

HOST = Policy(unsafe=True)  # what is picked does not depend on how it is run


WHOLE = Rank(whole=True, parses=True, complete=True)


def of(text: str, logprob: float, **facts: bool) -> tuple[bytes, Rank]:
    return text.encode(), WHOLE._replace(logprob=logprob, **facts)


def order(*programs: tuple[str, float], checks: tuple[str, ...] = ()) -> list[int]:
    return [tried.index for tried in run_and_rank([of(*program) for program in programs], HOST, checks=checks)]


def test_the_largest_group_wins_and_in_it_the_most_probable() -> None:
    assert order(("print(1)", -0.1), ("print(2)", -0.5), ("print(1 + 1)", -0.3), ("1 / 0", -0.01)) == [2, 1, 0, 3]


def test_silence_has_no_vote() -> None:
    assert order(("x = 1", -0.1), ("y = 2", -0.2), ("print()", -0.05), ("print(1)", -3.0)) == [3, 2, 0, 1]


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        (of("x = 1 +", -0.1, parses=False), of("1 / 0", -9.0)),
        (of("x = 1 +", -0.1, parses=False), of("1 / 0", -9.0, complete=False)),
        (of("print(1)", -0.1, complete=False), of("1 / 0", -9.0)),
        (of("1 / 0", -0.1), of("x = 1", -9.0)),
        (of("x = 3", -0.1), of("x = 1", -9.0)),
        (of("import os\nos._exit(0)", -0.1), of("x = 0", -9.0)),
        (of("print(7)", -0.1), of("x = 1", -9.0)),
        (of("x = 1", -0.1), of("x = 1; print()", -0.2)),
    ],
)
def test_the_order(worse: tuple[bytes, Rank], better: tuple[bytes, Rank]) -> None:
    checks = ("x == 1", "x < 3", "x < 4")
    if b"print()" in better[0]:
        worse, better = better, worse  # what prints nothing has no vote, so the log-probability decides
    for programs in ([worse, better], [better, worse]):
        best, _ = run_and_rank(programs, HOST, checks=checks)
        assert programs[best.index] == better


def test_failures_are_no_group_and_come_last_by_probability() -> None:
    assert order(("1 / 0", -0.1), ("1 / 0", -0.05), ("print(3)", -9.0)) == [2, 1, 0]


def test_a_check_that_does_not_hold_is_a_failure() -> None:
    programs = [("def f(x):\n    return x", -0.1), ("def f(x):\n    return x * x", -0.9), ("def g(x): pass", -0.01)]
    assert order(*programs) == [2, 0, 1]
    assert order(*programs, checks=("f(2) == 4", "f(3) == 9"))[0] == 1
    first, *others = run_and_rank([of(*program) for program in programs], HOST, checks=("f(2) == 4",))
    assert first.verdict.passed and [one.verdict.passed for one in others] == [False, False]
    assert {one.verdict.detail for one in others} == {
        "check f(2) == 4 failed",
        "check f(2) == 4 failed: NameError: name 'f' is not defined",
    }


@pytest.mark.parametrize("check", ["f(2) = 4", "import os", "f(", "x\0"])
def test_a_check_is_an_expression(check: str) -> None:
    with pytest.raises(UsageError, match="not a Python expression"):
        check_expressions([check])


def test_ctrl_c_ends_it() -> None:
    with pytest.raises(Interrupted):
        run_and_rank([of("while True: pass", 0.0)] * 3, HOST, interrupted=lambda: True)
