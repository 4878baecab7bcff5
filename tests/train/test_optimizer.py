"""The optimiser against its formulas in NumPy, the schedule against the paper's."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgcli.convert.config import CodeGenConfig, Shape
from cgcli.train import lora, model, optimizer
from cgcli.train.recipe import LoraPart, OptimizerPart

pytestmark = pytest.mark.usefixtures("quick_compiler")

PART = OptimizerPart(lr=0.1, lr_end=0.01, warmup=4, steps=20, weight_decay=0.5, clip=1.0)
WEIGHTS: Any = {"head": np.array([[1.0, -2.0], [3.0, 4.0]]), "blocks": {"ln_scale": np.array([[1.0, 2.0]])}}
GRADIENTS: list[Any] = [
    {"head": np.array([[3.0, 0.0], [0.0, -4.0]]), "blocks": {"ln_scale": np.array([[12.0, 0.5]])}},
    {"head": np.array([[0.1, 0.2], [0.0, -0.1]]), "blocks": {"ln_scale": np.array([[0.3, -0.2]])}},
    {"head": np.array([[1.0, 2.0], [-1.0, 0.5]]), "blocks": {"ln_scale": np.array([[0.1, 5.0]])}},
]


def by_hand() -> tuple[np.ndarray, np.ndarray]:
    """Clip, Adam, decay of the matrix only, minus the rate, of all numbers in one row."""
    weights = np.concatenate([WEIGHTS["head"].ravel(), WEIGHTS["blocks"]["ln_scale"].ravel()])
    decayed = np.array([1, 1, 1, 1, 0, 0])
    first = second = np.zeros(6)
    for step, one in enumerate(GRADIENTS):
        gradient = np.concatenate([one["head"].ravel(), one["blocks"]["ln_scale"].ravel()])
        gradient = gradient / max(1, np.linalg.norm(gradient))
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        moved = first / (1 - 0.9 ** (step + 1)) / (np.sqrt(second / (1 - 0.999 ** (step + 1))) + 1e-8)
        weights = weights - 0.1 * step / 4 * (moved + 0.5 * decayed * weights)
    return weights[:4].reshape(2, 2), weights[4:].reshape(1, 2)


def test_three_steps_by_hand() -> None:
    transform = optimizer.build(PART)
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), WEIGHTS)
    state = transform.init(params)
    update = jax.jit(transform.update)
    for gradient in GRADIENTS:
        updates, state = update(jax.tree.map(jnp.asarray, gradient), state, params)
        params = jax.tree.map(jnp.add, params, updates)
    head, scale = by_hand()
    np.testing.assert_allclose(params["head"], head, rtol=1e-5)
    np.testing.assert_allclose(params["blocks"]["ln_scale"], scale, rtol=1e-5)


@pytest.mark.parametrize(
    ("part", "wanted"),
    [
        (PART, {0: 0, 2: 0.05, 4: 0.1, 8: 0.1 - 0.09 * (1 - np.cos(np.pi / 4)) / 2, 12: 0.055, 20: 0.01, 99: 0.01}),
        (OptimizerPart(lr=0.1, lr_end=0.01, warmup=0, anneal=10, steps=50), {0: 0.1, 5: 0.055, 10: 0.01, 40: 0.01}),
        (OptimizerPart(lr=0.1, lr_end=0.01, warmup=5, steps=5), {0: 0, 4: 0.08, 5: 0.1}),
    ],
)
def test_the_schedule(part: OptimizerPart, wanted: dict[int, float]) -> None:
    rate = optimizer.schedule(part)
    assert {step: float(rate(step)) for step in wanted} == pytest.approx(wanted, rel=1e-5)


def test_every_matrix_and_adapter_is_decayed_and_nothing_else() -> None:
    params = model.init(CodeGenConfig(Shape(layers=2, width=8, heads=4, rotary=2, vocabulary=8, context=8)), 0)
    params = jax.tree.map(np.ones_like, params)
    transform = optimizer.build(OptimizerPart(lr=1.0, lr_end=1.0, warmup=0, weight_decay=0.25))
    for tree in (params, jax.tree.map(np.ones_like, lora.init(params, LoraPart(rank=2), 0))):
        nothing = jax.tree.map(np.zeros_like, tree)
        updates, _ = jax.jit(transform.update)(nothing, jax.jit(transform.init)(tree), tree)
        moved = {
            str(getattr(path[-1], "key", ""))
            for path, leaf in jax.tree_util.tree_leaves_with_path(updates)
            if np.allclose(leaf, -0.25)
        }
        assert moved == ({"wte", "qkv", "out", "fc_in", "fc_out", "head"} if "wte" in tree else {"a", "b"})
