"""HumanEval: its tasks, the program that checks a completion, and what that program's end says of it.

A completion passes where the whole program comes to its end: the task's prompt, the completion, the task's tests and
the call of them, in a namespace of its own. That is human-eval's rule (openai/human-eval, human_eval/execution.py, MIT;
Chen et al. 2021, arXiv 2107.03374), but for what keeps it honest: the program runs in the sandbox, processor time
decides (the clock at five times that), and a program that ends by itself before its tests did has not passed. That
holds for a completion that does not mean to lie: one that does could look for what tells the sandbox of the end, or
answer every comparison with True.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cgcli.core.errors import CgcliError
from cgcli.evals.fetch import Published
from cgcli.evals.judging import timed
from cgcli.evals.samples import Row, read
from cgcli.evals.verdicts import Result
from cgcli.program.program import digest
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.verdict import Verdict

PUBLISHED = Published(
    name="HumanEval.jsonl.gz",
    url="https://raw.githubusercontent.com/openai/human-eval/6d43fb980f9fee3c892a914eda09951f772ad10d/data/HumanEval.jsonl.gz",
    size=44_877,
    sha256="b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef",
    licence="MIT",
)
CPU_S = 3.0
POLICY = timed(CPU_S)
KS = (1, 10, 100)
_NAME = "program.py"
_PROGRAM = 'exec(compile({text!a}, {name!a}, "exec", dont_inherit=True), {{}})\n'
"""What is run: the program, in an empty namespace."""
_ASSERTION = re.compile(r"AssertionError\b.*, line (\d+)", re.DOTALL)


@dataclass(frozen=True)
class Task:
    """A function to complete. test: a program that defines `check(candidate)`; solution: the authors' own."""

    id: str
    prompt: str
    entry_point: str
    test: str
    solution: str = ""

    def program(self, completion: str) -> str:
        """All that a completion is checked by. Source: human_eval/execution.py, `check_correctness`."""
        return f"{self.prompt}{completion}\n{self.test}\ncheck({self.entry_point})"

    def checks(self, completion: str) -> int:
        """The line of the program where the tests begin, from 1."""
        before = f"{self.prompt}{completion}\n"
        return len(re.findall(r"\r\n?|\n", before)) + 1


@dataclass(frozen=True)
class Check:
    """A completion to be checked: a `Trial`."""

    task: Task
    completion: str
    policy: Policy = POLICY

    @property
    def program(self) -> str:
        return digest(self.task.program(self.completion).encode("utf-8", "backslashreplace").decode())

    @property
    def source(self) -> bytes:
        text = self.task.program(self.completion)
        return _PROGRAM.format(text=text, name=_NAME).encode("ascii")

    def result(self, verdict: Verdict) -> Result:
        """What the verdict on `source` says of the completion."""
        said = Result(verdict.outcome, verdict.detail, verdict.cpu_s)
        if verdict.left or (verdict.outcome == "exit" and verdict.status == 0):
            return replace(said, outcome="exit", detail="it ended before the tests did")
        asserted = _ASSERTION.fullmatch(verdict.detail) if verdict.outcome == "exception" else None
        if asserted and int(asserted[1]) >= self.task.checks(self.completion):
            return replace(said, outcome="wrong answer")
        return said


def load(path: Path) -> dict[str, Task]:
    """The tasks of a file in HumanEval's form, by id, in their order. Raises UsageError, CgcliError."""
    tasks: dict[str, Task] = {}
    for row in read(path):
        task = _task(row)
        if task is None or task.id in tasks:
            what = "a task without task_id, prompt, entry_point and test" if task is None else f"{task.id} twice"
            raise CgcliError(f"{path} is no file of HumanEval's: {what}")
        tasks[task.id] = task
    if not tasks:
        raise CgcliError(f"{path} has no tasks")
    return tasks


def _task(row: Mapping[str, object]) -> Task | None:
    fields = [row.get(name) for name in ("task_id", "prompt", "entry_point", "test")]
    texts = [field for field in (*fields, row.get("canonical_solution", "")) if isinstance(field, str)]
    return Task(*texts) if len(texts) == len(fields) + 1 else None


def trials(tasks: Mapping[str, Task], path: Path, *, unsafe: bool = False) -> Callable[[Row], Check]:
    """What is asked of a row of the file `path`; raises CgcliError for one that is no sample of these tasks."""
    policy = timed(CPU_S, unsafe=unsafe)

    def check(row: Row) -> Check:
        completion = row.get("completion")
        if "task_id" not in row:
            raise CgcliError(
                f"{path}: a row without task_id and completion is no sample of HumanEval",
                hint=f"cgcli eval mtpb --judge {path}" if "completions" in row else None,
            )
        task = tasks.get(str(row["task_id"]))
        if task is None:
            raise CgcliError(f"{path}: no task {row['task_id']!r} in the data", hint="--data FILE names other tasks")
        if not isinstance(completion, str):
            raise CgcliError(f"{path}: a sample of {task.id} has no completion")
        return Check(task, completion, policy)

    return check
