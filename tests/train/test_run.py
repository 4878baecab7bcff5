"""A run: it learns, leaves its files, continues, and reports what is wrong. Its step is compiled once."""

from __future__ import annotations

import math
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from cgcli.core.errors import CgcliError, Interrupted, UsageError
from cgcli.core.progress import Silent
from cgcli.train.metrics import NAMED, StepMetrics, read_metrics
from cgcli.train.recipe import with_values
from cgcli.train.run import TrainResult, train
from tests.train.tiny_run import (
    STEPS,
    losses,
    tiny,
    trained_weights,
    write_sources,
)

# A fixture of the module: its run is compiled in the same way as the tests' own.
pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def whole(sources: Path, compiled_once: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainResult]:
    """A run from beginning to end."""
    out = tmp_path_factory.mktemp("whole")
    return out, train(tiny(sources), out, progress=Silent())


def test_a_run_learns_and_leaves_everything_that_it_should(whole: tuple[Path, TrainResult]) -> None:
    out, result = whole
    rows = list(read_metrics(out / "metrics.jsonl"))
    assert [row.step for row in rows] == list(range(1, STEPS + 1))
    assert rows[0].nll == pytest.approx(math.log(320), abs=0.5)
    assert rows[-1].nll < rows[0].nll - 1
    assert rows[-1].tokens == result.tokens == STEPS * 4 * 64
    assert (result.steps, result.loss) == (STEPS, rows[-1].loss)
    assert sorted(one.name for one in (out / "checkpoints").iterdir()) == ["18", "20"]
    kept = {"recipe.toml", "data", "checkpoints", "metrics.jsonl", "export"}
    assert kept <= {one.name for one in out.iterdir()}
    assert {"config.json", "model.safetensors"} <= {one.name for one in result.export.iterdir()}


def test_an_interrupted_run_continues_with_the_same_bits(
    whole: tuple[Path, TrainResult], sources: Path, tmp_path: Path
) -> None:
    def press_ctrl_c(row: StepMetrics) -> None:
        if row.step == 7:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match=r"interrupted after step 8 of 20 \(checkpoint saved\)") as stopped:
        train(tiny(sources), tmp_path, progress=Silent(), on_step=press_ctrl_c)
    assert stopped.value.hint == f"cgcli train -o {tmp_path}"
    train(tiny(sources), tmp_path, progress=Silent())
    assert losses(tmp_path) == losses(whole[0])
    assert trained_weights(tmp_path) == trained_weights(whole[0])


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


def test_another_recipe_is_refused(whole: tuple[Path, TrainResult], sources: Path) -> None:
    before = trained_weights(whole[0])
    with pytest.raises(UsageError, match=r"belongs to another recipe: its model\.layers is 2, not 1"):
        train(with_values(tiny(sources), model={"layers": 1}), whole[0], progress=Silent())
    assert trained_weights(whole[0]) == before


def test_a_loss_that_is_no_number_stops_the_run(sources: Path, tmp_path: Path) -> None:
    wild = with_values(tiny(sources), optimizer={"lr": 1e30, "warmup": 0}, checkpoint={"every": 1})
    with pytest.raises(CgcliError, match=r"diverged at step \d+: loss (nan|inf)") as told:
        train(wild, tmp_path, progress=Silent())
    last = max(losses(tmp_path))
    assert f"the last checkpoint is at step {last}" in told.value.message
    assert f"at step {last + 1}:" in told.value.message
    assert all(math.isfinite(loss) for loss in losses(tmp_path).values())


def test_what_does_not_fit_is_refused_before_anything_is_made(sources: Path, tmp_path: Path) -> None:
    huge = with_values(tiny(sources), model={"layers": 500, "width": 65536, "heads": 64})
    with pytest.raises(CgcliError, match="of memory"):
        train(huge, tmp_path / "out", progress=Silent())
    assert not (tmp_path / "out").exists()


def test_adapters_of_nothing_are_refused(sources: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a model to adapt"):
        train(with_values(tiny(sources), lora={"rank": 2}), tmp_path, progress=Silent())


def test_weights_of_another_shape_are_refused(whole: tuple[Path, TrainResult], sources: Path, tmp_path: Path) -> None:
    other = replace(with_values(tiny(sources), model={"layers": 1}), init=str(whole[1].export))
    with pytest.raises(UsageError, match="has layers 2, but the recipe has 1"):
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


def test_each_step_is_reported(sources: Path, tmp_path: Path) -> None:
    told: list[StepMetrics] = []
    train(tiny(sources, 3), tmp_path, progress=Silent(), on_step=told.append)
    assert told == list(read_metrics(tmp_path / "metrics.jsonl"))
