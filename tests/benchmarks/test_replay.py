"""The guards on real samples of CodeGen-16B: bars, and what does not compile. No program runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from cgcli.evals.humaneval import HumanEvalTask
from cgcli.evals.samples import read_rows
from tests.benchmarks.replay import Replay, bars, replay, unparsed

EVERY = 40  # of a task's samples


@pytest.fixture(scope="module")
def replays(shared: Path) -> list[Replay]:
    rows = list(read_rows(shared / "data" / "codet" / "humaneval-codegen16b.jsonl.gz"))
    tasks = [HumanEvalTask(row["task_id"], row["prompt"], row["entry_point"], row["test"]) for row in rows]
    return [replay(task, one) for task, row in zip(tasks, rows, strict=True) for one in row["samples"][::EVERY]]


def test_every_bar_is_cut_within_90_characters(replays: list[Replay]) -> None:
    found = bars(replays)
    assert found["bars"] > 20
    assert found["bars"] == found["cut"] + found["dead before"]
    assert found["characters"] <= 90


def test_what_does_not_compile_is_dead_or_unfinished(replays: list[Replay]) -> None:
    found = unparsed(replays)
    assert found["syntax"] > 3
    assert found["do not compile"] == found["syntax"] + found["degenerate"] + found["unfinished"]
