"""The JAX model: golden logits and losses, gradients against finite differences, what attention may see."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgcli.convert.checkpoint import open_checkpoint
from cgcli.convert.config import CodeGenConfig, Shape
from cgcli.convert.reference import Reference
from cgcli.train import model
from cgcli.train.model import loss
from cgcli.train.recipe import LoraPart
from cgcli.train.weights import load_weights
from tests.convert.checkpoints import GOLDEN

pytestmark = pytest.mark.usefixtures("quick_compiler")
LONG = pytest.mark.long

# The golden weights were rounded to float16 after the golden logits were made: that is nearly all of the difference
# (9.6e-4 at most). From NumPy's run of the very weights the logits differ by 1e-5.
GOLDEN_TOLERANCE = 1e-3
REFERENCE_TOLERANCE = 5e-5
TINY = CodeGenConfig(Shape(layers=2, width=32, heads=4, rotary=4, vocabulary=64, context=16))
logits_of = jax.jit(model.logits, static_argnames=("config", "dtype", "remat"))
loss_of = jax.jit(loss, static_argnames=("config", "z_loss", "dtype", "remat"))
TOKENS = np.random.default_rng(5).integers(0, 64, (2, 11)).astype(np.int32)


# The converter's tests have all of them in make test; here every head size is compiled anew.
@pytest.mark.parametrize("name", ["own", "head80", *(pytest.param(name, marks=LONG) for name in ("head64", "head256"))])
def test_golden_logits_and_losses(name: str, golden: Callable[[str], Path]) -> None:
    folder = golden(name)
    expected = np.load(folder / "expected.npz")
    config, params = load_weights(folder)
    ids = jnp.asarray(expected["ids"])[None]
    found = logits_of(params, ids, config, dtype="float32")[0]
    np.testing.assert_allclose(found, expected["logits"], rtol=0, atol=GOLDEN_TOLERANCE)
    reference = Reference(open_checkpoint(folder), config).forward(expected["ids"].tolist())
    np.testing.assert_allclose(found, reference, rtol=0, atol=REFERENCE_TOLERANCE)
    total, parts = loss_of(params, ids, config, z_loss=0.0, dtype="float32")
    assert float(total) == float(parts["nll"]) == pytest.approx(expected["nll"].mean(), abs=GOLDEN_TOLERANCE)


@pytest.mark.parametrize("length", [1, 4, 6, 11])
def test_attention_in_blocks_is_the_plain_one(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "QUERIES", 4)
    query, key, value = np.random.default_rng(0).standard_normal((3, 2, 3, length, 8), np.float32)
    scores = np.where(np.tri(length, dtype=bool), query @ key.swapaxes(-1, -2) / np.sqrt(8), -np.inf)
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    found = jax.jit(model.attention)(*(jnp.asarray(one) for one in (query, key, value)))
    np.testing.assert_allclose(found, weights @ value, rtol=1e-5, atol=1e-5)


def test_nothing_later_is_seen() -> None:
    params = model.init_params(TINY, 0)
    other = TOKENS.copy()
    other[:, 7:] = (other[:, 7:] + 1) % 64
    a, b = (logits_of(params, jnp.asarray(tokens), TINY, dtype="float32") for tokens in (TOKENS, other))
    np.testing.assert_array_equal(a[:, :7], b[:, :7])
    assert not np.array_equal(a[:, 7], b[:, 7])


def test_initial_weights() -> None:
    params, again, other = model.init_params(TINY, 3), model.init_params(TINY, 3), model.init_params(TINY, 4)
    jax.tree.map(np.testing.assert_array_equal, params, again)
    assert not np.array_equal(params["wte"], other["wte"])
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    for matrix in (params["wte"], params["blocks"]["qkv"], params["blocks"]["fc_out"]):
        assert float(matrix.std()) == pytest.approx(0.02, rel=0.1)
    assert float(params["blocks"]["ln_scale"].min()) == 1 and not params["head_bias"].any()


@pytest.mark.parametrize(("dtype", "within"), [("bfloat16", 0.05), ("float16", 0.01)])
def test_half_precision_logits(dtype: str, within: float) -> None:
    """Of a model whose logits matter: the golden one. `within`: of their standard deviation, root mean square."""
    config, params = load_weights(GOLDEN)
    expected = np.load(GOLDEN / "expected.npz")
    found = logits_of(params, jnp.asarray(expected["ids"])[None], config, dtype=dtype)[0]
    assert found.dtype == jnp.float32
    error = np.sqrt(np.mean((np.asarray(found) - expected["logits"]) ** 2)) / expected["logits"].std()
    assert 0 < error < within


@pytest.mark.parametrize("extent", [[], pytest.param(["--all"], marks=pytest.mark.long)])
def test_gradients_are_those_of_finite_differences(extent: list[str]) -> None:
    """Of the reference in NumPy (cgcli/convert/reference.py's arithmetic) in float64: in a process of its own."""
    command = [sys.executable, "-m", "tests.train.finite_differences", *extent]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class TestLora:
    part = LoraPart(rank=3, alpha=6.0)

    def adapters(self, params: model.Params) -> model.Params:
        rng = np.random.default_rng(1)
        drawn: Any = jax.tree.map(
            lambda leaf: jnp.asarray(0.1 * rng.standard_normal(leaf.shape, np.float32)),
            model.init_adapters(params, self.part, 0),
        )
        return dict(drawn)

    def test_at_first_nothing_changes(self) -> None:
        params = model.init_params(TINY, 0)
        first = model.merge_adapters(params, model.init_adapters(params, self.part, 0), self.part)
        jax.tree.map(np.testing.assert_array_equal, first, params)

    def test_merged_is_attached(self) -> None:
        params = model.init_params(TINY, 0)
        adapters = self.adapters(params)
        base, attached, merged = (
            logits_of(one, jnp.asarray(TOKENS), TINY, dtype="float32")
            for one in (
                params,
                model.attach_adapters(params, adapters, self.part),
                model.merge_adapters(params, adapters, self.part),
            )
        )
        np.testing.assert_allclose(attached, merged, rtol=1e-4, atol=1e-5)
        assert float(jnp.abs(merged - base).max()) > 0.05

    def test_alpha_over_rank(self) -> None:
        params = model.init_params(TINY, 0)
        adapters = self.adapters(params)
        merged = model.merge_adapters(params, adapters, self.part)["blocks"]["qkv"]
        one = adapters["blocks"]["qkv"]
        wanted = np.asarray(params["blocks"]["qkv"][1]) + 2 * np.tensordot(one["a"][1], one["b"][1], 1)
        np.testing.assert_allclose(merged[1], wanted, rtol=1e-5, atol=1e-6)
