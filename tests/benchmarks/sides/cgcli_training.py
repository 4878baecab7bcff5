"""cgcli's own step."""

from __future__ import annotations

import sys
import time

import jax
import numpy as np

from cgcli.convert.config import Shape
from cgcli.train import device
from cgcli.train.recipe import BatchPart, ComputePart, OptimizerPart, Recipe
from cgcli.train.step import init_state, make_mesh, make_step, shard_batch, shard_state
from tests.benchmarks.sides.training import WARM_UP, Asked, answer


def measure(asked: Asked) -> tuple[list[float], list[float], float]:
    recipe = Recipe(
        name="benchmark",
        model=Shape(asked.layers, asked.width, asked.heads, asked.vocabulary, asked.context, asked.rotary),
        optimizer=OptimizerPart(lr=1e-3, lr_end=1e-4, warmup=1, steps=100),
        batch=BatchPart(sequences=asked.sequences, accumulate=asked.sequences // asked.together),
        compute=ComputePart(dtype="float32", remat=False),
    )
    mesh = make_mesh(recipe)
    step, state = make_step(recipe, mesh), shard_state(init_state(recipe), mesh)
    shape = (recipe.batch.accumulate, asked.together, asked.context + 1)
    tokens = np.random.default_rng(0).integers(0, asked.vocabulary, shape, np.int32)
    batch = shard_batch(tokens, mesh)
    seconds, losses = [], []
    for _ in range(WARM_UP + asked.steps):
        started = time.perf_counter()
        state, metrics = step(state, batch)
        losses.append(float(metrics["nll"]))
        jax.block_until_ready(state)
        seconds.append(time.perf_counter() - started)
    return seconds, losses, device.matmul_flops("float32")


if __name__ == "__main__":
    answer(sys.argv[1:], measure)
