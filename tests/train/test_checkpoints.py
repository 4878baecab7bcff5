"""Checkpoints restore what was saved, even if the arrays were reused or the process was killed."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgcli.core.errors import CgcliError
from cgcli.train.checkpoints import Checkpoints, ResumePoint

FACTS = ResumePoint("digest", '{"position": 3}', 1000, 2.5)
# Saves step after step, and says so before it is whole; killed somewhere.
SAVER = """
import sys
from pathlib import Path
import jax.numpy as jnp
from cgcli.train.checkpoints import *
with Checkpoints(Path(sys.argv[1]), 2) as checkpoints:
    for step in range(1, 1000):
        checkpoints.save(step, {"a": jnp.full(1_000_000, step)}, ResumePoint("d", "p", step, 0.0))
        print(step, flush=True)
"""


@partial(jax.jit, donate_argnums=0)
def step(state: dict[str, jax.Array]) -> dict[str, jax.Array]:
    return {"a": state["a"] * 2 + 1}


def test_arrays_that_are_given_away_at_once_are_kept_as_they_were(tmp_path: Path) -> None:
    state = {"a": jnp.arange(3_000_000, dtype=jnp.float32)}
    with Checkpoints(tmp_path, 2) as checkpoints:
        for number in range(1, 5):
            state = step(state)
            wanted = np.array(state["a"], copy=True)
            checkpoints.save(number, state, FACTS)
        for _ in range(5):
            state = step(state)
    with Checkpoints(tmp_path, 2) as checkpoints:
        assert checkpoints.latest == 4
        found = checkpoints.restore(state)
    assert found is not None
    assert found[0] == 4
    assert found[2] == FACTS
    np.testing.assert_array_equal(found[1]["a"], wanted)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["3", "4"]


def test_opening_leaves_nothing_to_a_thread(tmp_path: Path) -> None:
    """What a killed process left is gone at once: a run that ends soon (unusable data) leaves no thread behind."""
    left = tmp_path / "7.orbax-checkpoint-tmp"
    left.mkdir()
    (left / "part").write_bytes(b"x")
    before = set(threading.enumerate())
    with Checkpoints(tmp_path, 2):
        assert set(threading.enumerate()) == before
        assert list(tmp_path.iterdir()) == []


def test_nothing_there_is_nothing(tmp_path: Path) -> None:
    with Checkpoints(tmp_path / "none", 1) as checkpoints:
        assert checkpoints.latest is None
        assert checkpoints.restore({"a": jnp.zeros(1)}) is None


def test_a_killed_process_leaves_a_whole_one(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SAVER, tmp_path], stdout=subprocess.PIPE) as saver:
        assert saver.stdout is not None
        for line in saver.stdout:
            if int(line) == 4:
                saver.kill()
                break
    with Checkpoints(tmp_path, 2) as checkpoints:
        found = checkpoints.restore({"a": jnp.zeros(1_000_000, int)})
        assert found is not None
        number, state, facts = found
        assert number >= 3
        assert facts.tokens == number
        assert (state["a"] == number).all()
        assert all(one.name.isdigit() for one in tmp_path.iterdir())
        checkpoints.save(number + 1, state, FACTS)
        assert checkpoints.latest == number + 1


def test_a_full_disk_is_one_line_and_the_one_before_stays(mount: Callable[..., Path]) -> None:
    disk = mount("size=12m")
    small = {"a": jnp.zeros(1000)}
    with Checkpoints(disk / "c", 2) as checkpoints:
        checkpoints.save(1, small, FACTS)
    large = {"a": jax.random.normal(jax.random.key(0), (10_000_000,))}
    with pytest.raises(CgcliError, match="no space left"), Checkpoints(disk / "c", 2) as checkpoints:
        checkpoints.save(2, large, FACTS)
    with Checkpoints(disk / "c", 2) as checkpoints:
        assert checkpoints.latest == 1


def test_a_damaged_one_is_one_line(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, 2) as checkpoints:
        checkpoints.save(1, {"a": jnp.arange(1000)}, FACTS)
    for file in (tmp_path / "1" / "state").rglob("*"):
        if file.is_file():
            file.write_bytes(b"damaged")
    with Checkpoints(tmp_path, 2) as checkpoints, pytest.raises(CgcliError, match="cannot read the checkpoint") as told:
        checkpoints.restore({"a": jnp.zeros(1000, int)})
    assert "\n" not in told.value.line
