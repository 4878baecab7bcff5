"""HumanEval: its tasks, the samples to draw, and how a completion is checked.

A completion passes if the whole program runs to its end: the task's prompt, the completion, the task's tests and the
call to them, in a namespace of its own. That is human-eval's rule (openai/human-eval, human_eval/execution.py, MIT;
Chen et al. 2021, arXiv 2107.03374), with three differences that keep it honest: the program runs in the sandbox, the
limit is on processor time (the wall clock has five times as much), and a program that exits before its tests end has
not passed. A completion that sets out to cheat can still do so, for example by comparing equal to everything.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cgcli.core.errors import CgcliError, Interrupted
from cgcli.engine.request import Completion, Request
from cgcli.evals.fetch import PublishedFile
from cgcli.evals.judging import CheckResult, judging_policy
from cgcli.evals.samples import Row, read_rows
from cgcli.native.sample import Sampling
from cgcli.program.guard import Guard
from cgcli.program.report import guard_report
from cgcli.program.source import digest, encode
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.verdict import Verdict

if TYPE_CHECKING:
    from cgcli.engine.protocol import Engine
    from cgcli.program.generation import Generation

PUBLISHED = PublishedFile(
    name="HumanEval.jsonl.gz",
    url="https://raw.githubusercontent.com/openai/human-eval/6d43fb980f9fee3c892a914eda09951f772ad10d/data/HumanEval.jsonl.gz",
    size=44_877,
    sha256="b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef",
    licence="MIT",
)
CPU_S = 3.0
POLICY = judging_policy(CPU_S)
KS = (1, 10, 100)
_NAME = "program.py"
# The sandboxed program executes the completed task in an empty namespace.
_PROGRAM = 'exec(compile({text!a}, {name!a}, "exec", dont_inherit=True), {{}})\n'
_ASSERTION = re.compile(r"AssertionError\b.*, line (\d+)", re.DOTALL)
_DATA_HINT = "pass the published file with --data FILE, or omit --data to download it"


@dataclass(frozen=True)
class HumanEvalTask:
    """A function to complete."""

    id: str
    prompt: str
    entry_point: str
    test: str  # a program that defines `check(candidate)`
    solution: str = ""  # the authors' own

    def program(self, completion: str) -> str:
        """The program that checks a completion. Source: human_eval/execution.py, `check_correctness`."""
        return f"{self.prompt}{completion}\n{self.test}\ncheck({self.entry_point})"

    def first_test_line(self, completion: str) -> int:
        """The line of `program(completion)` on which the tests begin, counted from 1."""
        before = f"{self.prompt}{completion}\n"
        return len(re.findall(r"\r\n?|\n", before)) + 1


def load_tasks(path: Path) -> dict[str, HumanEvalTask]:
    """Read a file in HumanEval's format: tasks by id, in file order. Raises UsageError, CgcliError."""
    tasks: dict[str, HumanEvalTask] = {}
    for row in read_rows(path):
        task = _task(row)
        if task is None or task.id in tasks:
            reason = "a task lacks task_id, prompt, entry_point or test" if task is None else f"{task.id} appears twice"
            raise CgcliError(f"{path} is not a HumanEval file: {reason}", hint=_DATA_HINT)
        tasks[task.id] = task
    if not tasks:
        raise CgcliError(f"{path} has no tasks", hint=_DATA_HINT)
    return tasks


def _task(row: Mapping[str, object]) -> HumanEvalTask | None:
    fields = [row.get(name) for name in ("task_id", "prompt", "entry_point", "test")]
    texts = [field for field in (*fields, row.get("canonical_solution", "")) if isinstance(field, str)]
    return HumanEvalTask(*texts) if len(texts) == len(fields) + 1 else None


# --- drawing


class HumanEvalKey(NamedTuple):
    """Identifies a sample in a file: its fields are fields of the row."""

    task_id: str
    temperature: float
    seed: int
    index: int  # type: ignore[assignment]  # the candidate; with the seed it fixes the draws; hides tuple.index


@dataclass(frozen=True)
class SamplePlan:
    """Which samples to draw, and how."""

    n: int  # samples of each task
    temperatures: tuple[float, ...]
    generation: Generation  # its own temperature is ignored

    @property
    def seed(self) -> int:
        return self.generation.sampling.seed

    @property
    def facts(self) -> dict[str, object]:
        """The settings that every row records besides its key."""
        how = self.generation
        sampling = {"top_p": how.sampling.top_p, "top_k": how.sampling.top_k, "min_p": how.sampling.min_p}
        return {**sampling, "max_tokens": how.max_tokens, **how.eval_facts}

    def keys(self, tasks: Sequence[str]) -> Iterator[HumanEvalKey]:
        """Every sample of these tasks. Samples of one task are adjacent, so that its prompt is read once."""
        for task, temperature, index in product(tasks, self.temperatures, range(self.n)):
            yield HumanEvalKey(task, temperature, self.seed, index)

    def includes(self, row: Row) -> bool:
        """Whether the plan contains this row; the task is not compared."""
        index = row.get("index")
        return (
            row.get("seed") == self.seed
            and row.get("temperature") in self.temperatures
            and isinstance(index, int)
            and index < self.n
        )


@dataclass(frozen=True)
class Preset:
    """A published way of sampling."""

    n: int  # samples of each task
    temperatures: tuple[float, ...]
    sampling: Sampling


PRESETS = {
    # Nijkamp et al. 2023 (arXiv 2203.13474), section 2: for each k, the best temperature is reported.
    "paper": Preset(200, (0.2, 0.6, 0.8), Sampling(top_p=0.95)),
    # The greedy column of EvalPlus.
    "greedy": Preset(1, (0.0,), Sampling(temperature=0.0, top_p=1.0)),
}


def request(task: HumanEvalTask, plan: SamplePlan, temperature: float, index: int, *, heal: bool) -> Request:
    """The request for one sample: the task's prompt as it is; `index` is the candidate of a first turn."""
    generation, prompt = plan.generation, encode(task.prompt)
    sampling = replace(generation.sampling, temperature=temperature)
    cutter = functools.partial(generation.cutter, prompt)
    return Request(prompt, sampling, cutter, generation.max_tokens, 0, index, continues_code=heal)


def needs_healing(engine: Engine) -> bool:
    """Whether the tokenizer merges a line end with the indentation that follows it.

    CodeGen's does not, so a prompt has the same tokens as in the paper. Others do (GPT-2's), and a model trained with
    one has never seen a bare line end before an indented line: SmolLM2 then continues with three back-ticks
    (HumanEval/0: probability 0.49) and completes nothing, while line end and indentation as one token have 0.99. For
    such a model the prompt's last line end is left to the first token drawn; the text stays the same.
    """
    tokens = engine.tokens
    prompt, following = b'def f():\n    """Say 1."""\n', b"    return 1\n"
    alone = tokens(prompt)
    return tokens(prompt + following)[: len(alone)] != alone


def draw_rows(
    engine: Engine,
    keys: Iterable[HumanEvalKey],
    tasks: Mapping[str, HumanEvalTask],
    plan: SamplePlan,
    facts: Mapping[str, object],
) -> Iterator[Row]:
    """Draw the samples with these keys and yield each row as it completes. Every row gets `facts`.

    Raises Interrupted after Ctrl-C, ContextError if a prompt does not fit.
    """
    heal = needs_healing(engine)
    going: dict[int, tuple[HumanEvalKey, Guard]] = {}

    def requests() -> Iterator[Request]:
        for number, key in enumerate(keys):
            task = tasks[key.task_id]
            whole = request(task, plan, key.temperature, key.index, heal=heal)
            guard = Guard(engine, plan.generation, whole, task.prompt)
            going[number] = key, guard
            yield guard.request

    def follow(number: int, completion: Completion) -> Request | None:
        return going[number][1].follow(completion)

    for number, last in engine.complete(requests(), follow):
        if last.finish_reason == "interrupted":
            raise Interrupted
        key, guard = going.pop(number)
        completion = guard.completion
        yield {
            "task_id": key.task_id,
            "completion": completion.text,
            "temperature": key.temperature,
            "seed": key.seed,
            "index": key.index,
            "tokens": completion.tokens,
            "mean_logprob": completion.mean_logprob,
            "finish_reason": completion.finish_reason,
            "healed": heal,
            **({"guarded": guard_report(guard.facts)} if guard.facts else {}),
            **facts,
            **plan.facts,
        }


# --- checking


@dataclass(frozen=True)
class HumanEvalCheck:
    """Checks one completion; implements `judging.Check`."""

    task: HumanEvalTask
    completion: str
    policy: Policy = POLICY

    @property
    def program_hash(self) -> str:
        return digest(self.task.program(self.completion).encode("utf-8", "backslashreplace").decode())

    @property
    def source(self) -> bytes:
        text = self.task.program(self.completion)
        return _PROGRAM.format(text=text, name=_NAME).encode("ascii")

    def result(self, verdict: Verdict) -> CheckResult:
        found = CheckResult(verdict.outcome, verdict.detail, verdict.cpu_s)
        if verdict.called_exit or (verdict.outcome == "exit" and verdict.status == 0):
            return replace(found, outcome="exit", detail="it exited before its tests ended")
        asserted = _ASSERTION.fullmatch(verdict.detail) if verdict.outcome == "exception" else None
        if asserted and int(asserted[1]) >= self.task.first_test_line(self.completion):
            return replace(found, outcome="wrong answer")
        return found


def checker(tasks: Mapping[str, HumanEvalTask], path: Path, *, unsafe: bool = False) -> Callable[[Row], HumanEvalCheck]:
    """A function that turns rows of the file `path` into checks. It raises CgcliError for a row that is not a sample of
    these tasks."""
    policy = judging_policy(CPU_S, unsafe=unsafe)

    def check(row: Row) -> HumanEvalCheck:
        completion = row.get("completion")
        if "task_id" not in row:
            raise CgcliError(
                f"{path} is not a file of HumanEval samples: a row has no task_id",
                hint=f"cgcli eval mtpb --judge {path}" if "completions" in row else None,
            )
        task = tasks.get(str(row["task_id"]))
        if task is None:
            raise CgcliError(
                f"{path} has a sample of {row['task_id']!r}, which is not in the data",
                hint="pass the tasks of these samples with --data FILE",
            )
        if not isinstance(completion, str):
            raise CgcliError(f"{path} has a sample of {task.id} without a completion")
        return HumanEvalCheck(task, completion, policy)

    return check
