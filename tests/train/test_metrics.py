"""metrics.jsonl has each step once, whatever happened to the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cgcli.core.errors import CgcliError
from cgcli.train.metrics import MetricsWriter, StepMetrics, read_metrics


def row(step: int, loss: float = 3.0) -> StepMetrics:
    return StepMetrics(
        step=step,
        loss=loss,
        nll=2.9,
        grad_norm=1.0,
        lr=1e-3,
        tokens=step * 100,
        seconds=step * 0.5,
        tokens_per_s=200.0,
        peak_share=0.25,
    )


def test_appended_metrics_are_read(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path / "metrics.jsonl", after=0) as metrics:
        metrics.append(row(1))
        metrics.append(row(2))
        assert list(read_metrics(tmp_path / "metrics.jsonl")) == [row(1), row(2)]  # before it is closed


def test_a_resumed_run_removes_the_steps_that_it_repeats(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path, after=0) as metrics:
        for step in range(1, 8):
            metrics.append(row(step))
    with MetricsWriter(path, after=5) as metrics:
        metrics.append(row(6, loss=1.0))
    assert list(read_metrics(path)) == [*map(row, range(1, 6)), row(6, loss=1.0)]


def test_a_torn_last_line_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path, after=0) as metrics:
        metrics.append(row(1))
    with path.open("ab") as file:
        file.write(b'{"step": 2, "lo')
    assert list(read_metrics(path)) == [row(1)]
    with MetricsWriter(path, after=2) as metrics:
        metrics.append(row(2))
    assert list(read_metrics(path)) == [row(1), row(2)]


def test_a_disk_that_is_full_leaves_whole_lines(tmp_path: Path, mount: Callable[..., Path]) -> None:
    disk = mount("size=16k")
    path = disk / "metrics.jsonl"
    with MetricsWriter(path, after=0) as metrics:
        (disk / "ballast").write_bytes(bytes(8192))  # two of its four pages; a page holds no whole number of lines
        step = 0
        with pytest.raises(CgcliError, match=f"no space left while writing {path}"):
            for step in range(1, 1000):
                metrics.append(row(step))
        assert path.read_bytes().endswith(b"\n")
        (disk / "ballast").unlink()
        metrics.append(row(step))
    assert list(read_metrics(path)) == [*map(row, range(1, step + 1))]


def test_another_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\nnothing\n')
    with pytest.raises(CgcliError, match="line 1 is malformed"):
        MetricsWriter(path, after=1)
    assert path.read_text() == '{"step": 1}\nnothing\n'


def test_no_file_is_no_rows(tmp_path: Path) -> None:
    assert list(read_metrics(tmp_path / "metrics.jsonl")) == []
