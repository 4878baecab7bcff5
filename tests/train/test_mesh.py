"""Eight simulated devices compute the same steps as one, with divided records, divided layers or both."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from cgcli.core.errors import UsageError
from cgcli.train.recipe import with_values
from cgcli.train.step import make_mesh
from tests.train.test_step import TINY, train

# Sums in another order: of losses about 4 and gradient norms about 1 over six steps. Measured: 2e-7.
TOLERANCE = 1e-5
DEVICES = 8

PROGRAM = """
import json, sys
import jax
jax.config.update("jax_disable_most_optimizations", True)
from cgcli.train import model
from cgcli.train.recipe import with_values
from tests.train.test_step import TINY, train
model.UNROLLED_LAYERS = 0
split, lora = json.loads(sys.argv[1])
recipe = with_values(TINY, compute={"model_parallel": split}, lora={"rank": lora})
state, metrics = train(recipe, 6)
split_arrays = sum(not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state))
print(json.dumps({"metrics": metrics, "devices": len(state.step.devices()), "split": split_arrays}))
"""
# Devices of one layer, rank of adapters; how many arrays are divided: eight weights, and two moments of each.
CASES = [
    pytest.param(1, 0, 0, id="data 8"),
    pytest.param(2, 0, 24, id="data 4, model 2"),
    pytest.param(4, 0, 24, id="data 2, model 4"),
    pytest.param(2, 2, 0, id="data 4, model 2, adapters"),
]


@pytest.mark.long
@pytest.mark.usefixtures("quick_compiler")
@pytest.mark.parametrize(("split", "rank", "divided"), CASES)
def test_the_same_losses_as_on_one(split: int, rank: int, divided: int) -> None:
    environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={DEVICES}"}
    command = [sys.executable, "-c", PROGRAM, json.dumps([split, rank])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    _, alone = train(with_values(TINY, lora={"rank": rank}), 6)
    for mine, theirs in zip(alone, found["metrics"], strict=True):
        assert theirs == pytest.approx(mine, rel=TOLERANCE)
    assert alone[0]["nll"] != alone[-1]["nll"]
    assert (found["devices"], found["split"]) == (DEVICES, divided)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"compute": {"model_parallel": 3}}, "model_parallel 3"),
        ({"compute": {"model_parallel": 0}}, "model_parallel 0"),
    ],
)
def test_shapes_that_cannot_be_divided_are_refused(changes: dict[str, dict[str, int]], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        make_mesh(with_values(TINY, **changes))
