"""Runs that are killed or interrupted continue with the same bits; adapters are trained and merged.

Each start is a process of its own, compiled with all optimizations.
"""

from __future__ import annotations

import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cgcli.core.progress import Silent
from cgcli.train import weights
from cgcli.train.recipe import LoraPart, with_values
from cgcli.train.run import TrainResult, train
from tests.train.tiny_run import (
    STEPS,
    ended,
    keep_compiled,
    losses,
    started,
    tiny,
    trained_weights,
    write_recipe,
    write_sources,
)

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def whole(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainResult]:
    """A run from beginning to end."""
    keep_compiled()
    out = tmp_path_factory.mktemp("whole")
    return out, train(tiny(sources), out, progress=Silent())


def killed(process: subprocess.Popen[str], out: Path, step: int, how: signal.Signals) -> tuple[int, str]:
    """End a run by a signal once it has done `step` steps: its status and stderr."""
    metrics = out / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.read_bytes().count(b"\n") >= step):
        time.sleep(0.01)
    process.send_signal(how)
    status, _, err = ended(process)
    return status, err


@pytest.mark.parametrize(
    "cache",
    [pytest.param("true", id="compiled before"), pytest.param("false", id="compiled anew")],
)
def test_a_killed_run_resumes_bit_for_bit(
    sources: Path, whole: tuple[Path, TrainResult], tmp_path: Path, cache: str
) -> None:
    out = tmp_path / "out"
    recipe = write_recipe(tmp_path / "tiny.toml", tiny(sources))
    status, _ = killed(started(recipe, "-o", out), out, 10, signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert 10 <= max(losses(out)) < STEPS
    status, stdout, err = ended(started(recipe, "-o", out, JAX_ENABLE_COMPILATION_CACHE=cache))
    assert (status, stdout) == (0, ""), err
    assert "resumes at step" in err
    assert losses(out) == losses(whole[0])
    assert trained_weights(out) == trained_weights(whole[0])


@pytest.mark.parametrize(("how", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_keeps_the_step_and_says_how_to_go_on(
    sources: Path, whole: tuple[Path, TrainResult], tmp_path: Path, how: signal.Signals, expected: int
) -> None:
    out = tmp_path / "out"
    recipe = write_recipe(tmp_path / "tiny.toml", tiny(sources))
    status, err = killed(started(recipe, "-o", out), out, 4, how)
    done = max(losses(out))
    assert status == expected
    assert (
        err.splitlines()[-1]
        == f"cgcli: interrupted after step {done} of {STEPS} (checkpoint saved); type: cgcli train -o {out}"
    )
    status, _, err = ended(started("-o", out))
    assert status == 0, err
    assert f"resumes at step {done}" in err
    assert losses(out) == losses(whole[0])
    assert trained_weights(out) == trained_weights(whole[0])


def test_adapters_alone_are_trained_and_merged(whole: tuple[Path, TrainResult], tmp_path: Path) -> None:
    other = write_sources(tmp_path / "sources", word="thing")
    recipe = replace(tiny(other, 12), init=str(whole[1].export), lora=LoraPart(rank=2))
    result = train(with_values(recipe, data={"tokenizer": recipe.init}), tmp_path / "out", progress=Silent())
    found = losses(tmp_path / "out")
    assert found[12] + 0.1 < found[1] < losses(whole[0])[1] - 1  # it begins where the other ended, and learns
    assert size_of(tmp_path / "out" / "checkpoints" / "12") < size_of(whole[0] / "checkpoints" / "20") / 4
    _, before = weights.load_weights(whole[1].export)
    _, after = weights.load_weights(result.export)
    assert not np.array_equal(before["blocks"]["qkv"], after["blocks"]["qkv"])
    for name in ("wte", "head"):
        np.testing.assert_array_equal(before[name], after[name])


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
