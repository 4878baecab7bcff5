"""The guards on real samples of CodeGen-16B: bars, and what does not compile. No program runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from cgcli.evals.humaneval import HumanEvalTask
from cgcli.evals.samples import read_rows
from cgcli.program.languages import parse_python
from cgcli.program.truncate import truncate
from tests.benchmarks.replay import Replay, bars, replay, unparsed

SAMPLES = 6  # of each task are looked at


@pytest.fixture(scope="module")
def replays(shared: Path) -> list[Replay]:
    """Samples with a bar, or that do not compile."""
    found = []
    for row in read_rows(shared / "data" / "codet" / "humaneval-codegen16b.jsonl.gz"):
        task = HumanEvalTask(row["task_id"], row["prompt"], row["entry_point"], row["test"])
        for sample in row["samples"][:SAMPLES]:
            if "#" * 89 in sample[:600] or parse_python(task.prompt + truncate(sample)) is None:
                found.append(replay(task, sample))
    return found


def test_every_bar_is_cut_within_90_characters(replays: list[Replay]) -> None:
    found = bars(replays)
    assert found["bars"] > 10
    assert found["bars"] == found["cut"] + found["cut before"]
    assert found["characters"] <= 90


def test_what_does_not_compile_is_dead_or_unfinished(replays: list[Replay]) -> None:
    found = unparsed(replays)
    assert found["syntax"] > 5
    assert found.total() == found["syntax"] + found["degenerate"] + found["end"]
