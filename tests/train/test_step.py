"""A step: the loss falls, pieces and accumulation change only rounding, the same step gives the same bits; AdamW and
its schedule against their formulas in NumPy."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgcli.convert.config import CodeGenConfig, Shape
from cgcli.train import model
from cgcli.train.recipe import BatchPart, ComputePart, LoraPart, OptimizerPart, Recipe, with_values
from cgcli.train.step import (
    TrainState,
    init_state,
    learning_rate,
    make_mesh,
    make_optimizer,
    make_step,
    shard_batch,
    shard_state,
)

pytestmark = pytest.mark.usefixtures("quick_compiler")

TINY = Recipe(
    model=Shape(layers=2, width=32, heads=4, rotary=4, vocabulary=64, context=16),
    optimizer=OptimizerPart(lr=1e-2, lr_end=1e-3, warmup=2, steps=40),
    batch=BatchPart(sequences=8),
    compute=ComputePart(dtype="float32", remat=False),
)
ONE_LAYER = CodeGenConfig(with_values(TINY, model={"layers": 1}).model)


def batches(recipe: Recipe, count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Runs of consecutive ids from a random start: easy to learn."""
    rng = np.random.default_rng(seed)
    shape = (recipe.batch.accumulate, recipe.batch.sequences // recipe.batch.accumulate, 1)
    for _ in range(count):
        start = rng.integers(0, recipe.model.vocabulary, shape)
        yield ((start + np.arange(recipe.model.context)) % recipe.model.vocabulary).astype(np.int32)


@functools.cache
def train(recipe: Recipe, count: int) -> tuple[TrainState, list[dict[str, float]]]:
    """The state after `count` steps, and the metrics of each; the same answer is not computed twice."""
    mesh = make_mesh(recipe)
    params = model.init_params(CodeGenConfig(recipe.model), recipe.compute.seed)
    state, step, found = shard_state(init_state(recipe, params), mesh), make_step(recipe, mesh), []
    base = shard_state(params, mesh) if recipe.lora.rank else None
    for tokens in batches(recipe, count):
        state, metrics = step(state, shard_batch(tokens, mesh), base)
        found.append({name: float(value) for name, value in metrics.items()})
    return state, found


def test_the_loss_falls_from_that_of_no_knowledge() -> None:
    state, metrics = train(TINY, 40)
    assert metrics[0]["nll"] == pytest.approx(math.log(64), abs=0.1)
    assert metrics[-1]["nll"] < 1
    assert int(state.step) == 40
    assert metrics[0]["loss"] == pytest.approx(metrics[0]["nll"] + 1e-4 * metrics[0]["z"], rel=1e-6)
    assert [m["lr"] for m in metrics[:3]] == pytest.approx([0, 5e-3, 1e-2])


def test_the_same_run_twice_has_the_same_bits() -> None:
    assert train.__wrapped__(TINY, 5)[1] == train(TINY, 40)[1][:5]


@pytest.mark.long
def test_accumulation_changes_only_rounding() -> None:
    once = train(TINY, 40)[1][:5]
    parts = train(with_values(TINY, batch={"accumulate": 4}), 5)[1]
    # The batches differ in shape only: batches() draws the same starts.
    assert [m["nll"] for m in parts] == pytest.approx([m["nll"] for m in once], rel=1e-5)
    assert [m["grad_norm"] for m in parts] == pytest.approx([m["grad_norm"] for m in once], rel=1e-4)


@pytest.mark.long
@pytest.mark.parametrize(("dtype", "within"), [("bfloat16", 0.05), ("float16", 0.01)])
def test_half_precision_learns_as_well(dtype: str, within: float) -> None:
    exact = train(TINY, 40)[1]
    state, half = train(with_values(TINY, compute={"dtype": dtype}), 40)
    assert abs(half[0]["nll"] - exact[0]["nll"]) < 0.01
    assert half[0]["grad_norm"] == pytest.approx(exact[0]["grad_norm"], rel=0.05)
    assert abs(half[-1]["nll"] - exact[-1]["nll"]) < within * math.log(64)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(state.params))


@functools.cache
def plain_loss() -> tuple[model.Params, jax.Array, Any]:
    """Weights, records, and the loss and gradients of them from whole logits."""
    config = ONE_LAYER
    tokens = jnp.asarray(np.random.default_rng(1).integers(0, 64, (8, 16)), jnp.int32)

    def plain(params: model.Params) -> jax.Array:
        logits = model.logits(params, tokens[:, :-1], config, dtype="float32")
        total = jax.nn.logsumexp(logits, axis=-1)
        return (total - jnp.take_along_axis(logits, tokens[:, 1:, None], -1)[..., 0] + 1e-2 * total**2).mean()

    params = model.init_params(config, 1)
    return params, tokens, jax.jit(jax.value_and_grad(plain))(params)


@pytest.mark.parametrize(
    "elements",
    [pytest.param(1, marks=pytest.mark.long), 64 * 8 * 4, pytest.param(1 << 20, marks=pytest.mark.long)],
)
def test_the_loss_in_pieces_is_the_plain_one(elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of 1 position, of 4 with a rest of 3, and all 15 together."""
    monkeypatch.setattr(model, "LOGITS_PER_PIECE", elements)
    params, tokens, wanted = plain_loss()

    def ours(params: model.Params) -> jax.Array:
        return model.loss(params, tokens, ONE_LAYER, z_loss=1e-2, dtype="float32")[0]

    found = jax.jit(jax.value_and_grad(ours))(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), wanted, found)


@pytest.mark.long
def test_adapters_alone_are_trained() -> None:
    state, metrics = train(with_values(TINY, lora={"rank": 4}), 40)
    assert metrics[-1]["nll"] < metrics[0]["nll"] - 0.1
    assert set(state.params) == {"blocks"} and set(state.params["blocks"]) == {"qkv", "out", "fc_in", "fc_out"}
    assert all(np.abs(adapter["b"]).max() > 0 for adapter in state.params["blocks"].values())


@pytest.mark.long
def test_in_float16_a_gradient_that_is_not_finite_is_skipped() -> None:
    recipe = with_values(TINY, compute={"dtype": "float16"})
    mesh = make_mesh(recipe)
    params = model.init_params(CodeGenConfig(recipe.model), 0)
    params["wte"] = 1e6 * params["wte"]
    kept = np.array(params["head"])
    state, metrics = make_step(recipe, mesh)(
        shard_state(init_state(recipe, params), mesh), shard_batch(next(batches(recipe, 1)), mesh)
    )
    assert not math.isfinite(float(metrics["grad_norm"])) and int(state.step) == 1
    np.testing.assert_array_equal(state.params["head"], kept)


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
    transform = make_optimizer(PART)
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
    rate = learning_rate(part)
    assert {step: float(rate(step)) for step in wanted} == pytest.approx(wanted, rel=1e-5)


def test_every_matrix_and_adapter_is_decayed_and_nothing_else() -> None:
    params = model.init_params(CodeGenConfig(Shape(layers=2, width=8, heads=4, rotary=2, vocabulary=8, context=8)), 0)
    adapters = model.init_adapters(params, LoraPart(rank=2), 0)
    transform = make_optimizer(OptimizerPart(lr=1.0, lr_end=1.0, warmup=0, weight_decay=0.25))
    for named in (params, adapters):
        # Only names matter: arrays of one shape, one operation after the other, are compiled once for all of them.
        tree = jax.tree.map(lambda _: jnp.ones(1), named)
        nothing = jax.tree.map(lambda _: jnp.zeros(1), named)
        updates, _ = transform.update(nothing, transform.init(tree), tree)
        moved = {
            str(getattr(path[-1], "key", ""))
            for path, leaf in jax.tree_util.tree_leaves_with_path(updates)
            if np.allclose(leaf, -0.25)
        }
        assert moved == ({"wte", "qkv", "out", "fc_in", "fc_out", "head"} if "wte" in tree else {"a", "b"})
