"""Judges completions of HumanEval's tasks, each distinct program once, and keeps the outcomes in a file in build/.

A line is `{"program": hash, "outcome": outcome}`; a run that was stopped goes on where it was. One process at a time.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from cgcli.evals.humaneval import HumanEvalCheck, HumanEvalTask
from cgcli.evals.judging import Job, judge_all, worker_count
from cgcli.evals.samples import read

CODET = Path("build/verdicts-codet.jsonl")
"""Of CodeGen-16B's samples that CodeT published, with their own prompts and tests."""

_TOLD = 500  # programs between two lines of progress

Sample = tuple[HumanEvalTask, str]
"""A task and a completion."""


def verdicts(samples: Iterable[Sample], path: Path) -> dict[str, str]:
    """The outcome of each sample by `program_hash`; what `path` lacks is judged and added."""
    known = {str(row["program"]): str(row["outcome"]) for row in read(path)} if path.exists() else {}
    checks = {check.program_hash: check for check in (HumanEvalCheck(*sample) for sample in samples)}
    missing = [check for program, check in checks.items() if program not in known]
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        jobs = (Job(check.program_hash, check.source, check.policy) for check in missing)
        for number, (program, verdict) in enumerate(judge_all(jobs, worker_count()), 1):
            known[program] = checks[program].result(verdict).outcome
            file.write(json.dumps({"program": program, "outcome": known[program]}) + "\n")
            file.flush()
            if number % _TOLD == 0:
                print(f"judged {number} of {len(missing)}", file=sys.stderr, flush=True)
    return known


def program_hash(task: HumanEvalTask, completion: str) -> str:
    """The key of a sample in `verdicts`."""
    return HumanEvalCheck(task, completion).program_hash
