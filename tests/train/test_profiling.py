"""The time of an operation excludes the operations inside it."""

from __future__ import annotations

from cgcli.train.metrics import own_time


def test_an_operation_s_time_is_without_what_runs_inside_it() -> None:
    spans = [("while", 0, 100), ("dot", 10, 40), ("fusion", 15, 20), ("dot", 40, 90), ("copy", 100, 130)]
    assert own_time(spans) == {"while": 20, "dot": 75, "fusion": 5, "copy": 30}


def test_an_operation_inside_one_of_its_own_name_is_counted_once() -> None:
    assert own_time([("while", 5, 8), ("while", 0, 10)]) == {"while": 10}
