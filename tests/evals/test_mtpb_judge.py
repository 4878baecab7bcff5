"""Samples of MTPB in the sandbox: verdicts, each program run once, and runs that resume."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cgcli.core.errors import CgcliError
from cgcli.evals.judging import Judge, results_path
from cgcli.evals.mtpb_judge import MTPBCheck, MTPBRules, checker
from cgcli.evals.samples import read_rows
from cgcli.sandbox.run import run
from tests.support.patience import PATIENCE_S

NUMPY = "import numpy as np\n"
ENOUGH = MTPBRules(seconds=20)
STRICT = MTPBRules("strict", seconds=20)


pytestmark = pytest.mark.usefixtures("sandbox")


@pytest.mark.parametrize(
    ("program", "expected", "paper", "strict"),
    [
        (NUMPY + "print(np.array([(1, 2)]))", [[1, 2]], "passed", "passed"),
        ("print('3')", 3, "passed", "wrong answer"),
        ("print(3)\n1 / 0", 3, "passed", "exception"),
        ("print(3)\nwhile True: pass", 3, "passed", "cpu time"),
        ("while True: pass", 3, "cpu time", "cpu time"),
        (
            "def f():\n  while True: pass\nprint(3)\nwhile True:\n  try: f()\n  except Exception: 0",
            3,
            "cpu time",
            "cpu time",
        ),
        ("print(3)\nimport os\nos._exit(0)", 3, "exit", "exit"),
        ("print(3)\nimport os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", 3, "crash", "crash"),
        ("x = [0] * 10**9\nprint(3)", 3, "exception", "exception"),
        ("import os\nif os.fork(): os.wait()\nprint(3)", 3, "passed", "passed"),
        ("import os\nif os.fork():\n    os.wait()\n    os._exit(0)\nprint(3)", 3, "exit", "exit"),
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n3", 3, "passed", "passed"),
        ("import os\nos.close(1)\nprint(3)", 3, "passed", "passed"),
        ("for x in []: print(x)", 3, "no print", "no print"),
        ("print({'a': 1})", {"a": 1}, "wrong answer", "passed"),
        ("print('\ud800')", "\ud800", "exception", "exception"),
        ("print(1, nothing=2)", 1, "passed", "exception"),
    ],
)
def test_verdicts(program: str, expected: Any, paper: str, strict: str) -> None:
    asked = MTPBCheck(program, expected, MTPBRules(seconds=0.5) if "while True" in program else ENOUGH)
    verdict = run(asked.source, policy=replace(asked.policy, wall_s=PATIENCE_S))
    assert asked.result(verdict).outcome == paper
    assert replace(asked, rules=STRICT).result(verdict).outcome == strict


@pytest.mark.parametrize(
    "program",
    [
        "import numpy as np\nprint(int(np.linalg.norm([3, 4])))",
        "import numpy.linalg as la\nprint(la.norm([3, 4]))",
        "import numpy.linalg\nimport numpy as np\nprint(int(np.array(5)))",
        "from numpy import *\nprint(array([5])[0])",
        "from numpy.linalg import norm\nprint(norm([3, 4]))",
        "import numpy as np\nimport numpy\nimport sys\nprint(5 if np is numpy is sys.modules['numpy'] else 0)",
        "import numpy as np\nprint(len(np.__name__))",
        "import numpy as np\ntry: np.nothing\nexcept AttributeError: print(5)",
        "try: import numpy.nothing\nexcept ModuleNotFoundError: print(5)",
        "import numpy as np\nclass A(np.ndarray): pass\nprint(len(A(5)))",
        "import numpy as np\nprint(len([np.pi for _ in range(5)]))",
    ],
)
def test_numpy_is_imported_when_it_is_used(program: str) -> None:
    asked = MTPBCheck(program, 5, MTPBRules("strict"))
    assert asked.result(run(asked.source, policy=asked.policy)).passed


def test_unused_numpy_is_not_imported() -> None:
    asked = MTPBCheck(f"{NUMPY}import sys\nprint(sum(name.startswith('numpy') for name in sys.modules))", 1, ENOUGH)
    assert asked.result(run(asked.source, policy=asked.policy)).passed


def test_the_expected_value_never_enters_the_sandbox() -> None:
    source = MTPBCheck("print(3)", "the answer", ENOUGH).source
    assert b"print(3)" in source and b"the answer" not in source


def rows(file: Path, *programs: tuple[str, Any]) -> Path:
    words = ({"id": "1", "completions": program, "gold_output": expected} for program, expected in programs)
    file.write_text("".join(json.dumps(row) + "\n" for row in words))
    return file


def outcomes(file: Path, rules: MTPBRules = ENOUGH) -> tuple[list[tuple[str, bool]], int]:
    with Judge(file, checker(file, rules), workers=2, facts={"rules": rules.name}) as judge:
        judged = [(one.result.outcome, one.earlier) for one in judge.judge(read_rows(file))]
        return sorted(judged), judge.known


def test_results_are_written_beside_the_samples_and_each_program_runs_once(tmp_path: Path) -> None:
    # This program prints something else each time.
    dice = "import os\nprint(os.urandom(8).hex())"
    file = rows(tmp_path / "s.jsonl", ("print(3)", 3), (dice, "x"), (dice, "x"), ("print(3)", 4))
    assert outcomes(file) == ([("passed", False)] + [("wrong answer", False)] * 3, 0)
    kept = list(read_rows(results_path(file)))
    assert [row["completions"] for row in sorted(kept, key=lambda row: row["sample"])] == [
        row["completions"] for row in read_rows(file)
    ]
    assert len({row["detail"] for row in kept if row["completions"] == dice}) == 1
    assert {row["sample"]: row["passed"] for row in kept} == {0: True, 1: False, 2: False, 3: False}
    again, known = outcomes(file)
    assert known == 4 and all(earlier for _, earlier in again)


def test_a_run_resumes_and_other_rules_start_afresh(tmp_path: Path) -> None:
    file = rows(tmp_path / "s.jsonl", ("print('3')", 3), ("print(4)", 4))
    with Judge(file, checker(file, ENOUGH), workers=1) as judge:
        next(judge.judge(read_rows(file)))  # killed after the first
    judged, known = outcomes(file)
    assert known >= 1 and [outcome for outcome, _ in judged] == ["passed", "passed"]
    judged, known = outcomes(file, STRICT)
    assert known == 0 and judged == [("passed", False), ("wrong answer", False)]
    assert [row["rules"] for row in read_rows(results_path(file))] == ["strict", "strict"]


def test_replaced_samples_are_judged_again(tmp_path: Path) -> None:
    outcomes(rows(tmp_path / "s.jsonl", ("print(3)", 3), ("print(4)", 4)))
    judged, known = outcomes(rows(tmp_path / "s.jsonl", ("print(5)", 3), ("print(4)", 4)))
    assert known == 0 and judged == [("passed", False), ("wrong answer", False)]


@pytest.mark.parametrize("row", [{}, {"id": "1", "completions": 3, "gold_output": 3}, {"id": "1", "completions": "3"}])
def test_a_row_that_is_not_a_sample_is_an_error(tmp_path: Path, row: dict[str, object]) -> None:
    file = tmp_path / "s.jsonl"
    file.write_text(json.dumps(row) + "\n")
    with pytest.raises(CgcliError, match="is not a file of MTPB samples"):
        outcomes(file)
