"""Several processes train as one."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest

from cgcli.core.errors import UsageError
from cgcli.train.device import ProcessGroup
from tests.train.tiny_run import STEPS, ended, losses, started, tiny, write_recipe, write_sources

# Sums of gradients in another order, and as many steps of Adam as STEPS that carry the difference on.
TOLERANCE = 2e-3  # nats


@pytest.mark.parametrize(("coordinator", "count", "index"), [("", 2, 0), ("a:1", 1, 0), ("a:1", 2, 2), ("a:1", 2, -1)])
def test_words_that_do_not_fit_together_are_refused(coordinator: str, count: int, index: int) -> None:
    with pytest.raises(UsageError):
        ProcessGroup(coordinator, count, index)


def test_the_first_one_writes() -> None:
    assert ProcessGroup().first
    assert [ProcessGroup("a:1", 2, index).first for index in range(2)] == [True, False]


@pytest.mark.long
def test_two_processes_train_as_one_does_and_go_on(tmp_path: Path) -> None:
    sources = write_sources(tmp_path / "sources")
    alone = ended(started(write_recipe(tmp_path / "tiny.toml", tiny(sources)), "-o", tmp_path / "alone"))
    assert alone[0] == 0, alone[2]
    for steps in (12, STEPS):
        recipe = write_recipe(tmp_path / "parts.toml", tiny(sources, steps))
        together = run_two(recipe, tmp_path / "together")
        assert [status for status, _, _ in together] == [0, 0], together
        assert together[1][2] == ""  # what is to be said is said once
    assert "resumes at step 12" in together[0][2]
    one, two = losses(tmp_path / "alone"), losses(tmp_path / "together")
    assert sorted(two) == list(range(1, STEPS + 1))
    np.testing.assert_allclose(list(two.values()), list(one.values()), atol=TOLERANCE)
    assert max(abs(one[step] - one[1]) for step in one) > 100 * TOLERANCE


def run_two(recipe: Path, out: Path) -> list[tuple[int, str, str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    words = (recipe, "-o", out, "--coordinator", address, "--processes", "2", "--process")
    return [ended(one) for one in [started(*words, str(index)) for index in range(2)]]
