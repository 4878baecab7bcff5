"""A run: it learns, keeps what it needs, goes on with the same bits, and says what is wrong."""

from __future__ import annotations

import math
import re
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cgcli.core.errors import CgcliError, UsageError
from cgcli.core.progress import Silent
from cgcli.train import hub_layout
from cgcli.train.metrics import Row, read
from cgcli.train.profiling import NAMED
from cgcli.train.recipe import LoraPart, with_values
from cgcli.train.run import Result, train
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

keep_compiled()


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def whole(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A run from beginning to end."""
    out = tmp_path_factory.mktemp("whole")
    return out, train(tiny(sources), out, progress=Silent())


def test_a_run_learns_and_leaves_everything_that_it_should(whole: tuple[Path, Result]) -> None:
    out, result = whole
    rows = list(read(out / "metrics.jsonl"))
    assert [row.step for row in rows] == list(range(1, STEPS + 1))
    assert rows[0].nll == pytest.approx(math.log(320), abs=0.5)
    assert rows[-1].nll < rows[0].nll - 1
    assert rows[-1].tokens == result.tokens == STEPS * 4 * 64
    assert (result.steps, result.loss) == (STEPS, rows[-1].loss)
    assert sorted(one.name for one in (out / "checkpoints").iterdir()) == ["18", "20"]
    kept = {"recipe.toml", "data", "checkpoints", "metrics.jsonl", "export"}
    assert kept <= {one.name for one in out.iterdir()}
    assert {"config.json", "model.safetensors"} <= {one.name for one in result.export.iterdir()}


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
    [pytest.param("true", id="compiled before"), pytest.param("false", id="compiled anew", marks=pytest.mark.slow)],
)
def test_a_killed_run_goes_on_bit_for_bit(
    sources: Path, whole: tuple[Path, Result], tmp_path: Path, cache: str
) -> None:
    out = tmp_path / "out"
    recipe = write_recipe(tmp_path / "tiny.toml", tiny(sources))
    status, _ = killed(started(recipe, "-o", out), out, 10, signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert 10 <= max(losses(out)) < STEPS
    status, stdout, err = ended(started(recipe, "-o", out, JAX_ENABLE_COMPILATION_CACHE=cache))
    assert (status, stdout) == (0, ""), err
    assert "goes on at step" in err
    assert losses(out) == losses(whole[0])
    assert trained_weights(out) == trained_weights(whole[0])


@pytest.mark.parametrize(("how", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_keeps_the_step_and_says_how_to_go_on(
    sources: Path, whole: tuple[Path, Result], tmp_path: Path, how: signal.Signals, expected: int
) -> None:
    out = tmp_path / "out"
    recipe = write_recipe(tmp_path / "tiny.toml", tiny(sources))
    status, err = killed(started(recipe, "-o", out), out, 4, how)
    done = max(losses(out))
    assert status == expected
    assert err.splitlines()[-1] == f"cgcli: interrupted, step {done} of {STEPS} is kept; type: cgcli train -o {out}"
    status, _, err = ended(started("-o", out))
    assert status == 0, err
    assert f"goes on at step {done}" in err
    assert losses(out) == losses(whole[0])
    assert trained_weights(out) == trained_weights(whole[0])


def test_more_steps_go_on_and_a_finished_run_does_nothing(sources: Path, tmp_path: Path) -> None:
    first = train(tiny(sources, 4), tmp_path, progress=Silent())
    again = train(tiny(sources, 4), tmp_path, progress=Silent())
    assert (again.steps, again.loss, again.tokens) == (4, None, first.tokens)
    more = train(tiny(sources, 6), tmp_path, progress=Silent())
    assert (more.steps, sorted(losses(tmp_path))) == (6, [1, 2, 3, 4, 5, 6])


def test_the_data_stay_as_they_were(tmp_path: Path) -> None:
    folder = write_sources(tmp_path / "sources")
    train(tiny(folder, 3), tmp_path / "out", progress=Silent())
    for file in folder.iterdir():
        file.write_text("other = 1\n")
    assert train(tiny(folder, 5), tmp_path / "out", progress=Silent()).steps == 5


def test_another_recipe_is_refused(whole: tuple[Path, Result], sources: Path) -> None:
    before = trained_weights(whole[0])
    with pytest.raises(UsageError, match=r"has a run of another recipe: model\.layers is 2 there, 1 here"):
        train(with_values(tiny(sources), model={"layers": 1}), whole[0], progress=Silent())
    assert trained_weights(whole[0]) == before


def test_a_loss_that_is_no_number_stops_the_run(sources: Path, tmp_path: Path) -> None:
    wild = with_values(tiny(sources), optimizer={"lr": 1e30, "warmup": 0}, checkpoint={"every": 1})
    with pytest.raises(CgcliError, match=r"step \d+: the loss is (nan|inf)") as told:
        train(wild, tmp_path, progress=Silent())
    last = max(losses(tmp_path))
    assert f"the last good checkpoint is of step {last}" in told.value.message
    assert f"step {last + 1}:" in told.value.message
    assert all(math.isfinite(loss) for loss in losses(tmp_path).values())


def test_what_does_not_fit_is_refused_before_anything_is_made(sources: Path, tmp_path: Path) -> None:
    huge = with_values(tiny(sources), model={"layers": 500, "width": 65536, "heads": 64})
    with pytest.raises(CgcliError, match="of memory"):
        train(huge, tmp_path / "out", progress=Silent())
    assert not (tmp_path / "out").exists()


def test_adapters_alone_are_trained_and_merged(whole: tuple[Path, Result], tmp_path: Path) -> None:
    other = write_sources(tmp_path / "sources", word="thing")
    recipe = replace(tiny(other, 12), init=str(whole[1].export), lora=LoraPart(rank=2))
    result = train(with_values(recipe, data={"tokenizer": recipe.init}), tmp_path / "out", progress=Silent())
    found = losses(tmp_path / "out")
    assert found[12] + 0.1 < found[1] < losses(whole[0])[1] - 1  # it begins where the other ended, and learns
    assert size_of(tmp_path / "out" / "checkpoints" / "12") < size_of(whole[0] / "checkpoints" / "20") / 4
    _, before = hub_layout.load(whole[1].export)
    _, after = hub_layout.load(result.export)
    assert not np.array_equal(before["blocks"]["qkv"], after["blocks"]["qkv"])
    for name in ("wte", "head"):
        np.testing.assert_array_equal(before[name], after[name])


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_adapters_of_nothing_are_refused(sources: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="adapters of what"):
        train(with_values(tiny(sources), lora={"rank": 2}), tmp_path, progress=Silent())


def test_weights_of_another_shape_are_refused(whole: tuple[Path, Result], sources: Path, tmp_path: Path) -> None:
    other = replace(with_values(tiny(sources), model={"layers": 1}), init=str(whole[1].export))
    with pytest.raises(UsageError, match="has n_layer 2, the recipe 1"):
        train(other, tmp_path, progress=Silent())


def test_a_profile_names_what_took_longest(sources: Path, tmp_path: Path) -> None:
    class Notes(Silent):
        def note(self, message: str) -> None:
            told.append(message)

    told: list[str] = []
    train(tiny(sources, 6), tmp_path, progress=Notes(), profile=True)
    (line,) = (one for one in told if one.startswith("profile"))
    assert line.startswith(f"profile of 3 steps in {tmp_path / 'profile'}: ")
    shares = [int(share) for share in re.findall(r" (\d+) %", line)]
    assert len(shares) == NAMED and shares[0] > 0 and sum(shares) <= 100 + NAMED / 2
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_each_step_is_told(sources: Path, tmp_path: Path) -> None:
    told: list[Row] = []
    train(tiny(sources, 3), tmp_path, progress=Silent(), on_step=told.append)
    assert told == list(read(tmp_path / "metrics.jsonl"))
