"""What `-n 8` finds when its first candidate is drawn at temperature 0.2 and the seven others hotter.

    python -m tests.benchmarks.temperatures HumanEval.jsonl.gz MODEL.gguf

Draws with the guards, as `gen` does, for the tasks with the shortest solutions. Counts the different candidates, those
that pass, the tasks that any of them solves, and those that a vote on results solves. Everything drawn
is kept in build/; a run that was stopped goes on. Intervals are of a bootstrap over tasks, of differences paired by
task. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cgcli.core.errors import Interrupted
from cgcli.evals.humaneval import HumanEvalTask, load_tasks
from cgcli.evals.judging import worker_count
from cgcli.evals.passk import bootstrap_mean
from cgcli.evals.samples import read_rows
from cgcli.program.assertions import draw_assertions, function_under_test
from tests.benchmarks.picks import Candidate, candidates_of, vote
from tests.benchmarks.report import machine, table
from tests.benchmarks.verdicts import Verdicts

TEMPERATURES = (0.2, 0.4, 0.6, 0.8)
TASKS, CANDIDATES, MAX_TOKENS = 20, 8, 100
DRAWN = Path("build/temperatures-drawn.jsonl")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tasks", type=int, default=TASKS)
    options = parser.parse_args()
    tasks = load_tasks(options.data)
    length = {str(row["task_id"]): len(row["canonical_solution"]) for row in read_rows(options.data)}
    names = sorted(length, key=lambda name: length[name])[: options.tasks]
    drawn = {str(row["task_id"]): row for row in read_rows(DRAWN)} if DRAWN.exists() else {}
    missing = [tasks[name] for name in names if name not in drawn]
    if missing:
        with DRAWN.open("a", encoding="utf-8") as file:
            for row in _draw(missing, options.model):
                drawn[row["task_id"]] = row
                file.write(json.dumps(row) + "\n")
                file.flush()
                print(f"drawn: {row['task_id']}", file=sys.stderr, flush=True)
    verdicts = Verdicts(workers=worker_count())
    verdicts.judge((tasks[name], one["text"]) for name in names for one in drawn[name]["candidates"])
    pools = {}
    for name in names:
        row = drawn[name]
        texts = [one["text"] for one in row["candidates"]]
        pools[name] = candidates_of(tasks[name], texts, row["assertions"], verdicts)
    print(f"{options.model.stem}, {CANDIDATES} candidates, {len(pools)} tasks, {machine()}\n")
    print(json.dumps(_report(pools)))


def _draw(tasks: Sequence[HumanEvalTask], model: Path) -> Iterator[dict[str, Any]]:
    """For each task CANDIDATES at each temperature, in order; and the texts of assertions."""
    from cgcli.engine.engine import LlamaEngine
    from cgcli.native.interrupt import interruptible
    from cgcli.native.sample import Sampling
    from cgcli.program.generation import Generation
    from cgcli.program.program import Program
    from cgcli.program.session import Session, drain
    from cgcli.program.truncate import CODEGEN

    with interruptible() as interrupt, LlamaEngine(model, interrupt=interrupt) as engine:
        for task in tasks:
            texts: list[str] = []
            for temperature in TEMPERATURES:
                how = Generation(
                    Sampling(temperature), MAX_TOKENS, CODEGEN, ("```",), CANDIDATES, redraws=0, guard=True
                )
                session = Session(engine, Program(task.prompt), how)
                plan = session.plan(None)
                turn = drain(session.draw(session.read(plan)))
                if turn.interrupted:
                    raise Interrupted
                texts += [one.text for one in turn.candidates]
            function = function_under_test(task.prompt, texts)
            asked = draw_assertions(session, plan, function) if function else []
            found = [{"text": text} for text in texts]
            yield {"task_id": task.id, "candidates": found, "assertions": asked}


def _report(pools: Mapping[str, Sequence[Candidate]]) -> dict[str, Any]:
    """Print a row for each temperature of the other candidates; returns the numbers."""
    found: dict[str, Any] = {"tasks": len(pools)}
    solved: dict[float, list[float]] = {}
    lines = []
    for number, temperature in enumerate(TEMPERATURES):
        others = slice(number * CANDIDATES + 1, (number + 1) * CANDIDATES)
        mixed = [[pool[0], *pool[others]] for pool in pools.values()]
        distinct = [len({one.text for one in pool}) for pool in mixed]
        passing = [sum(one.passes for one in pool) for pool in mixed]
        picked = [vote(pool) for pool in mixed]
        solved[temperature] = [sum(one.passes for one in best) / len(best) for best in picked]
        gain = bootstrap_mean([(a - b, 1) for a, b in zip(solved[temperature], solved[TEMPERATURES[0]], strict=True)])
        row: dict[str, Any] = {
            "distinct": sum(distinct) / len(mixed),
            "passing": sum(passing) / len(mixed),
            "any": sum(map(bool, passing)),
            "picked": sum(solved[temperature]),
            "interval": [round(len(mixed) * value, 1) for value in gain.interval or (0.0, 0.0)],
        }
        found[str(temperature)] = row
        low, high = row["interval"]
        told = f"{sum(solved[temperature]) - sum(solved[TEMPERATURES[0]]):+.1f} ({low:+.1f} to {high:+.1f})"
        lines.append((f"{temperature:g}", f"{row['distinct']:.1f}", f"{row['passing']:.2f}", str(row["any"]),
                      f"{row['picked']:.1f}", told if number else ""))  # fmt: skip
    alone = sum(pool[0].passes for pool in pools.values())
    print(f"The first candidate alone solves {alone} of {len(pools)} tasks.\n")
    print(table(("others at", "different", "pass", "any passes, tasks", "vote passes", "against 0.2"), lines))
    return found | {"alone": alone}


if __name__ == "__main__":
    main()
