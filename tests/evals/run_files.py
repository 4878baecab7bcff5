"""Small files of judged samples, for tests of reports."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MODEL = {"model": "codegen-350m-mono", "quant": "q4_0", "sha256": "ab" * 32}
SAMPLING = {"top_p": 0.95, "top_k": 0, "min_p": 0.0, "seed": 0}
Judged = tuple[dict[str, Any], str]
"""A row and its outcome."""


def task(number: int, index: int, outcome: str, **facts: Any) -> Judged:
    """A sample of HumanEval."""
    row = {"task_id": f"HumanEval/{number}", "completion": f"    return {index}\n", "index": index, "tokens": 10}
    return {**row, "temperature": 0.2, "max_tokens": 256, **MODEL, **SAMPLING, **facts}, outcome


def problem(number: int, case: int, turns: str, outcome: str, **facts: Any) -> Judged:
    """A sample of MTPB."""
    row = {"id": str(number), "input": {}, "gold_output": 1, "completions": f"print({case})\n", "case": case}
    more = {"turns": turns, "number_of_turns": 3, "index": 0, "tokens": 20, "prompt_perplexity": 5.0 + case}
    return {**row, **more, "temperature": 0.2, **MODEL, **SAMPLING, **facts}, outcome


def write(path: Path, judged: Iterable[Judged], **facts: Any) -> Path:
    """Write samples and, in another order, their results with `facts`; samples with the outcome "" get none."""
    rows = list(judged)
    path.write_text("".join(json.dumps(row) + "\n" for row, _ in rows))
    results = [
        {
            **row,
            "passed": outcome == "passed",
            "result": outcome,
            "outcome": outcome,
            "cpu_s": 0.05,
            **facts,
            "sample": n,
        }
        for n, (row, outcome) in enumerate(rows)
        if outcome
    ]
    path.with_name(f"{path.name}_results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in results[::-1]))
    return path


def humaneval(path: Path, **facts: Any) -> Path:
    """Three tasks with four samples each, of which four, two and none pass."""
    passed = {0: 4, 1: 2, 2: 0}
    rows = (
        task(number, index, "passed" if index < right else ("exception", "wrong answer")[index % 2], **facts)
        for number, right in passed.items()
        for index in range(4)
    )
    return write(path, rows)


def mtpb(path: Path, **facts: Any) -> Path:
    """Four of the odd problems with two inputs each: multi passes 2, 1, 1 and 0 of them, single 1, 0, 0 and 0."""
    right = {"multi": {10: 2, 17: 1, 41: 1, 89: 0}, "single": {10: 1, 17: 0, 41: 0, 89: 0}}
    rows = (
        problem(number, case, turns, "passed" if case < count else "no print", **facts)
        for turns, counts in right.items()
        for number, count in counts.items()
        for case in range(2)
    )
    return write(path, rows, rules="paper")
