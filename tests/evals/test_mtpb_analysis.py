"""MTPB's analyses against numbers counted by hand."""

from __future__ import annotations

import pytest

from cgcli.evals.mtpb import Problem, Turns
from cgcli.evals.mtpb_analysis import MTPBResult, analyze, difficulty, pass_rate, prompt_perplexity, quartiles, totals


def result(problem: str, passed: bool, *, turns: Turns = "multi", perplexity: float | None = None) -> MTPBResult:
    category = {"a": "math", "b": "math"}.get(problem, "string")
    number = 3 if problem == "a" else 4
    return MTPBResult(problem, turns, number, category, "passed" if passed else "no print", perplexity)


RESULTS = [
    *(result("a", True) for _ in range(8)),
    *(result("b", number < 1) for number in range(4)),
    result("c", False),
]


def test_a_pass_rate_is_the_mean_over_problems_not_over_samples() -> None:
    found = pass_rate(RESULTS)
    assert found and found.value == pytest.approx((1 + 1 / 4 + 0) / 3)
    assert found.interval and found.interval[0] < found.value < found.interval[1]
    assert pass_rate([]) is None


def test_totals() -> None:
    found = totals(RESULTS)
    assert (found["n_problems"], found["n_samples"]) == (3, 13)
    assert found["verdicts"] == {"passed": 9, "no print": 4}
    assert found["pass@1"] == pytest.approx(1.25 / 3)


def test_difficulty_is_by_the_pass_rate_over_multi_and_single() -> None:
    single = [result("a", False, turns="single") for _ in range(8)]
    assert difficulty(RESULTS) == {"a": "easy", "b": "hard", "c": "hard"}
    assert difficulty([*RESULTS, *single]) == {"a": "medium", "b": "hard", "c": "hard"}


def test_groups() -> None:
    found = analyze(RESULTS)["turns"]["multi"]
    assert {name: group["value"] for name, group in found["by_category"].items()} == {"math": 0.625, "string": 0.0}
    assert {name: group["n_problems"] for name, group in found["by_number_of_turns"].items()} == {"3": 1, "4": 2}
    assert {name: group["value"] for name, group in found["by_difficulty"].items()} == {"easy": 1.0, "hard": 0.125}
    assert list(found["by_number_of_turns"]) == ["3", "4"] and found["by_category"]["math"]["n_samples"] == 12


def test_totals_are_of_multi_but_count_all_samples() -> None:
    found = analyze([*RESULTS, *(result("a", False, turns="single") for _ in range(2))])
    assert found["pass@1"] == found["turns"]["multi"]["pass@1"] and found["turns"]["single"]["pass@1"] == 0
    assert (found["n_problems"], found["n_samples"]) == (3, 15)
    assert found["verdicts"] == {"passed": 9, "no print": 6}


def test_quartiles_have_rising_perplexity_and_equal_size() -> None:
    found = quartiles([result("abcd"[number % 4], number < 4, perplexity=float(number)) for number in range(8)])
    assert [(one["from"], one["to"], one["value"], one["n_samples"]) for one in found] == [
        (0, 1, 1.0, 2), (2, 3, 1.0, 2), (4, 5, 0.0, 2), (6, 7, 0.0, 2),
    ]  # fmt: skip
    assert quartiles([result("a", True, perplexity=1.0)] * 3) == quartiles(RESULTS) == []


def test_perplexity_of_passed_and_failed_samples() -> None:
    found = prompt_perplexity([result("a", True, perplexity=2.0), result("b", False, perplexity=5.0), *RESULTS])
    assert [found[name]["value"] for name in ("all", "passed", "failed")] == [3.5, 2.0, 5.0]
    assert prompt_perplexity(RESULTS)["all"]["value"] is None


def test_an_interval_keeps_the_samples_of_a_problem_together() -> None:
    """If the bootstrap drew single samples, 400 of them would give a narrow interval."""
    all_or_none = [result("ab"[number % 2], number % 2 == 0, perplexity=1.0) for number in range(400)]
    interval = quartiles(all_or_none)[0]["interval"]
    assert interval == (0.0, 1.0)


def test_a_row_of_the_papers_sampler_is_multi_turn() -> None:
    row = {"id": 4, "prompts_completions": ["#", "# a\n", "1\n\n", "# b\n", "2\n\n"]}
    assert MTPBResult.of(row, "passed", None) == MTPBResult("4", "multi", 2, None, "passed")
    assert MTPBResult.of(row | {"turns": "single", "number_of_turns": 5}, "passed", None).number_of_turns == 5
    problem = Problem("4", "math", ("a", "b", "c"), (), ())
    own = MTPBResult.of(row | {"turns": "single", "prompt_perplexity": 2.5}, "passed", problem)
    assert own == MTPBResult("4", "single", 3, "math", "passed", 2.5)
