"""Verdicts on completions of HumanEval's tasks, each judged once: they are kept in build/replay/."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from cgcli.evals.humaneval import HumanEvalCheck, HumanEvalTask
from cgcli.evals.judging import Job, judge_all
from cgcli.evals.samples import read_rows

FILE = Path("build/replay/verdicts.jsonl")

Completion = tuple[HumanEvalTask, str]


class Verdicts:
    """Which completions pass; `judge` runs those that are not known, `workers` at a time."""

    def __init__(self, path: Path = FILE, *, workers: int = 1) -> None:
        self._path = path
        self._workers = workers
        self._known = {row["program"]: bool(row["passed"]) for row in read_rows(path)} if path.exists() else {}

    def judge(self, completions: Iterable[Completion]) -> None:
        wanted = {check.program_hash: check for check in (HumanEvalCheck(*one) for one in completions)}
        jobs = (Job(name, check.source, check.policy) for name, check in wanted.items() if name not in self._known)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            for name, verdict in judge_all(jobs, self._workers):
                self._known[name] = wanted[name].result(verdict).passed
                file.write(json.dumps({"program": name, "passed": self._known[name]}) + "\n")
                file.flush()

    def passed(self, task: HumanEvalTask, completion: str) -> bool:
        return self._known[HumanEvalCheck(task, completion).program_hash]
