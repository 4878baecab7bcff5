"""A tiny data file in HumanEval's format: two tasks."""

from __future__ import annotations

import json
from pathlib import Path

from cgcli.evals.humaneval import HumanEvalTask

_TWICE_TEST = "META = {}\n\ndef check(candidate):\n    assert candidate('a') == 'aa'\n    assert candidate(2) == 4\n"
ONE = HumanEvalTask("S/one", "def one():\n", "one", "\ndef check(f):\n    assert f() == 1\n", "    return 1\n")
TWICE = HumanEvalTask(
    "S/twice", "import math\n\ndef twice(x):\n    'Twice.'\n", "twice", _TWICE_TEST, "    return x + x\n"
)
TASKS = {task.id: task for task in (ONE, TWICE)}


def write_tasks(path: Path) -> Path:
    rows = (
        {
            "task_id": task.id,
            "prompt": task.prompt,
            "entry_point": task.entry_point,
            "canonical_solution": task.solution,
            "test": task.test,
        }
        for task in TASKS.values()
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_samples(path: Path, *rows: tuple[str, str]) -> Path:
    path.write_text("".join(json.dumps({"task_id": task, "completion": text}) + "\n" for task, text in rows))
    return path


def samples(text: str | bytes) -> list[str]:
    """The rows of a file of samples, sorted, without their times."""
    rows = [json.loads(line) for line in text.splitlines()]
    return sorted(json.dumps({**row, "seconds": None}) for row in rows)
