"""Totals of judged HumanEval samples."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cgcli.evals.judging import CheckResult, JudgedSample
from cgcli.evals.passk import Totals


def total(*rows: tuple[str, float | None, str]) -> Totals:
    totals = Totals()
    for task, temperature, outcome in rows:
        row = {"task_id": task} | ({} if temperature is None else {"temperature": temperature})
        totals.add(JudgedSample(row, CheckResult(outcome, "", 0.0), False))
    return totals


def test_the_best_temperature_counts_for_each_k() -> None:
    steady = [("a", 0.2, "passed")] * 10 + [("b", 0.2, "exception")] * 10
    varied = [(task, 0.8, outcome) for task in "ab" for outcome in ["passed"] * 4 + ["wrong answer"] * 6]
    totals = total(*steady, *varied)
    report = totals.report()
    assert (report["n_problems"], report["n_samples"]) == (2, 40)
    assert report["pass@1"] == 0.5 and report["pass@10"] == 1.0 and "pass@100" not in report
    assert report["best_temperature"] == {"pass@1": 0.2, "pass@10": 0.8}
    assert report["verdicts"] == {"passed": 18, "wrong answer": 12, "exception": 10}
    temperatures: Any = report["temperatures"]
    assert [one["pass@1"] for one in temperatures] == [0.5, pytest.approx(0.4)]
    intervals: Any = report["intervals"]
    assert intervals["pass@1"] == (0.0, 1.0)
    json.dumps(report, allow_nan=False)


def test_the_best_temperature_is_one_with_every_task() -> None:
    easy = [("a", 0.8, "passed")]
    both = [(task, temperature, "exception") for task in "ab" for temperature in (0.2, 0.6)]
    totals = total(*easy, *both)
    best = totals.best(1)
    assert best and best[1].value == 0 and totals.report()["best_temperature"] == {"pass@1": 0.2}
    assert "best_temperature" not in total(*easy, ("a", 0.2, "passed"), ("b", 0.2, "passed")).report()


def test_samples_without_a_temperature_are_counted_together() -> None:
    report = total(("a", None, "passed"), ("b", None, "crash")).report()
    assert report["pass@1"] == 0.5 and "best_temperature" not in report
    assert total(("a", None, "passed"), ("a", None, "passed"), ("b", None, "crash")).score == "66.7 % pass"


def test_totals_of_tasks_with_different_numbers_of_samples_are_means_over_tasks() -> None:
    report = total(("a", 0.2, "passed"), ("a", 0.2, "passed"), ("a", 0.2, "passed"), ("b", 0.2, "exit")).report()
    assert report["pass@1"] == 0.5
