"""The page of a training run, finished or not: its curves show what was measured."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cgcli.evals.report.page import page
from cgcli.evals.report.parts import Curve
from cgcli.evals.report.sections import POINTS, training_section
from cgcli.train.metrics import StepMetrics
from tests.support.process import cgcli

pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'cgcli[report]'")
RECIPE = 'name = "mine"\n[optimizer]\nsteps = 40\nwarmup = 2\n'


def row(step: int) -> StepMetrics:
    return StepMetrics(step, 8 / step, 7 / step, 2 * step, 1e-3, 100 * step, 2.0 * step, 50 + step, 0.5)


def curves(rows: list[StepMetrics]) -> dict[str, Curve]:
    return {chart.title: chart for chart in training_section(rows, "A run").charts if isinstance(chart, Curve)}


def test_a_short_run_has_a_point_for_each_step() -> None:
    found = curves([row(step) for step in range(1, 11)])
    assert found["Loss, nats/token"].points == [(step, 8 / step) for step in range(1, 11)]
    assert found["Gradient norm before clipping"].points[-1] == (10, 20)
    assert found["Tokens/s"].about == "Tokens/s, by step: from 51 to 60"


def test_a_long_run_has_means_of_steps() -> None:
    steps = 4 * POINTS - 2
    loss = curves([row(step) for step in range(1, steps + 1)])["Tokens/s"]
    assert loss.points[0] == (4, 52.5) and len(loss.points) == POINTS
    assert loss.points[-1] == (steps, 50 + steps - 0.5)


def test_a_skipped_step_has_no_gradient() -> None:
    rows = [row(1), replace(row(2), grad_norm=None), row(3)]
    assert [step for step, _ in curves(rows)["Gradient norm before clipping"].points] == [1, 3]
    assert "Gradient norm before clipping" not in curves([replace(row(1), grad_norm=None)])
    assert len(re.findall("<svg", page([training_section(rows, "A run")], "Training"))) == 4


def test_the_page_of_an_interrupted_run(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "recipe.toml").write_text(RECIPE)
    lines = [json.dumps(asdict(row(step))) + "\n" for step in range(1, 13)]
    (out / "metrics.jsonl").write_text("".join(lines) + '{"step": 13, "lo')
    done = cgcli("train", "-o", str(out), "--report", str(tmp_path / "page.html"))
    assert (done.status, done.out) == (0, b"") and "12 of 40 steps" in done.err
    html = (tmp_path / "page.html").read_text()
    assert "Training mine" in html and "Loss, nats/token, by step: from 8 to 0.667" in html
    assert re.search(r"<td>1,200</td>", html) and not (out / "checkpoints").exists()


def test_a_run_without_steps_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    done = cgcli("train", "-o", str(tmp_path), "--report", str(tmp_path / "page.html"))
    assert done.status == 2 and "no training run in" in done.err
    assert not (tmp_path / "page.html").exists()
