"""Gradients of the loss by JAX against central differences of the same loss written in NumPy, both in float64.

A process of its own, since float64 is a switch of the whole of JAX: python -m tests.train.finite_differences. With
--all also without remat, with unrolled layers, and the gradients of adapters. Exits 1 with the names of arrays that are
off.
"""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from cgcli.convert import reference
from cgcli.convert.config import CodeGenConfig, Shape
from cgcli.train import model
from cgcli.train.model import loss
from cgcli.train.recipe import LoraPart

Floats = NDArray[np.float64]
Slopes = list[tuple[int, float]]  # at which entry of an array, flat; the derivative there

CONFIG = CodeGenConfig(Shape(layers=2, width=16, heads=4, rotary=2, vocabulary=24, context=8))
Z_LOSS = 0.01
STEP = 1e-5  # the error of a central difference is of its square, 1e-10 of the third derivative, and 1e-16 / STEP
TOLERANCE = 1e-7
LORA = LoraPart(rank=2, alpha=3.0)


def rotate(heads: Floats, rotary: int) -> Floats:
    """[T, H, D] as complex numbers: neighbours are the real and the imaginary part, turning is multiplying."""
    angles = np.arange(len(heads))[:, None] * 10_000.0 ** (-np.arange(0, rotary, 2) / rotary)
    turned = heads.copy()
    pairs = (heads[..., :rotary:2] + 1j * heads[..., 1:rotary:2]) * np.exp(1j * angles)[:, None, :]
    turned[..., :rotary:2], turned[..., 1:rotary:2] = pairs.real, pairs.imag
    return turned


def norm(hidden: Floats, scale: Floats, bias: Floats, epsilon: float) -> Floats:
    centred = hidden - hidden.mean(-1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon) * scale + bias)


def gelu(values: Floats) -> Floats:
    return np.asarray(0.5 * values * (1 + np.tanh(np.sqrt(2 / np.pi) * (values + 0.044715 * values**3))))


def numpy_loss(params: Any, tokens: NDArray[np.int32], config: CodeGenConfig) -> float:
    """The loss of records [B, T], one after the other, nothing in pieces."""
    losses, rotary = [], config.shape.rotary
    for record in tokens:
        hidden = params["wte"][record[:-1]]
        for i in range(config.shape.layers):
            w = {name: value[i] for name, value in params["blocks"].items()}
            normed = norm(hidden, w["ln_scale"], w["ln_bias"], config.epsilon)
            shape = (len(hidden), config.shape.heads, config.shape.head)
            query, key, value = (np.reshape(normed @ w["qkv"][:, part], shape) for part in range(3))
            scores = np.einsum("qhd,khd->hqk", rotate(query, rotary), rotate(key, rotary))
            scores = np.where(np.tri(len(hidden), dtype=bool), scores / np.sqrt(config.shape.head), -np.inf)
            weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
            mixed = np.einsum("hqk,khd->qhd", weights, value).reshape(hidden.shape)
            fed = gelu(normed @ w["fc_in"] + w["fc_in_bias"]) @ w["fc_out"] + w["fc_out_bias"]
            hidden = hidden + mixed @ w["out"] + fed
        logits = norm(hidden, params["ln_f_scale"], params["ln_f_bias"], config.epsilon) @ params["head"]
        logits = logits + params["head_bias"]
        total = np.log(np.exp(logits).sum(-1))
        losses.append(total - logits[np.arange(len(total)), record[1:]] + Z_LOSS * total**2)
    return float(np.mean(losses))


def differences(params: Any, tokens: NDArray[np.int32], leaves: list[Floats], entries: int) -> list[Slopes]:
    """Of each leaf, at `entries` places that are drawn: the derivative by a central difference."""
    rng = np.random.default_rng(1)
    found: list[Slopes] = []
    for leaf in leaves:
        flat, one = leaf.reshape(-1), Slopes()
        for at in rng.choice(flat.size, min(entries, flat.size), replace=False):
            kept = flat[at]
            sides = []
            for side in (kept + STEP, kept - STEP):
                flat[at] = side
                sides.append(numpy_loss(params, tokens, CONFIG))
            flat[at] = kept
            one.append((int(at), (sides[0] - sides[1]) / (2 * STEP)))
        found.append(one)
    return found


def main() -> int:
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_disable_most_optimizations", True)
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, CONFIG.shape.vocabulary, (2, 8)).astype(np.int32)
    # Larger weights than the initial ones, and biases: every term then matters.
    params = jax.tree.map(
        lambda leaf: 0.3 * rng.standard_normal(leaf.shape) + np.asarray(leaf == 1), model.init_params(CONFIG, 0)
    )
    assert reference.ROTARY_BASE == model.ROTARY_BASE

    def whole(params: Any, remat: bool) -> Any:
        return loss(params, jnp.asarray(tokens), CONFIG, z_loss=Z_LOSS, dtype="float64", remat=remat)[0]

    slopes = jax.jit(jax.value_and_grad(whole), static_argnums=1)
    wrong = []
    model.UNROLLED_LAYERS = 0
    value, first = slopes(params, True)
    if abs(value - numpy_loss(params, tokens, CONFIG)) > 1e-12:
        wrong.append(f"loss: {value} by JAX, {numpy_loss(params, tokens, CONFIG)} by NumPy")
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    expected = differences(params, tokens, jax.tree.leaves(params), 12)
    found = {"remat": first}
    if "--all" in sys.argv:
        model.UNROLLED_LAYERS = CONFIG.shape.layers
        found["unrolled"] = slopes(params, False)[1]
        wrong += lora_is_the_chain_rule(params, tokens)
    for kind, tree in found.items():
        gradients = jax.tree.leaves(tree)
        for path, gradient, entries in zip(paths, gradients, expected, strict=True):
            flat = np.asarray(gradient).reshape(-1)
            off = max(abs(flat[at] - slope) for at, slope in entries)
            if not off <= TOLERANCE:
                wrong.append(f"{path}, {kind}: off by {off:.2g}")
            if not np.abs(flat).max() > 100 * TOLERANCE:
                wrong.append(f"{path}: no gradient large enough to test anything")
    print("\n".join(wrong) or f"{len(paths)} arrays agree")
    return 1 if wrong else 0


def lora_is_the_chain_rule(params: Any, tokens: NDArray[np.int32]) -> list[str]:
    """Gradients of attached adapters against those of the merged matrix: dA = s dW Bᵀ, dB = s Aᵀ dW."""
    rng = np.random.default_rng(2)
    adapters = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape), model.init_adapters(params, LORA, 0))

    def total(params: Any) -> Any:
        return loss(params, jnp.asarray(tokens), CONFIG, z_loss=Z_LOSS, dtype="float64")[0]

    found = jax.jit(jax.grad(lambda a: total(model.attach_adapters(params, a, LORA))))(adapters)
    merged = jax.jit(jax.grad(total))(model.merge_adapters(params, adapters, LORA))
    wrong = []
    for name, one in adapters["blocks"].items():
        layers, rows = one["a"].shape[:2]
        slope = np.asarray(merged["blocks"][name]).reshape(layers, rows, -1) * LORA.alpha / LORA.rank
        b = np.reshape(one["b"], (layers, LORA.rank, -1))
        for key, wanted in (("a", slope @ b.swapaxes(1, 2)), ("b", np.swapaxes(one["a"], 1, 2) @ slope)):
            got = np.asarray(found["blocks"][name][key]).reshape(wanted.shape)
            if not np.abs(got - wanted).max() <= 1e-10:
                wrong.append(f"adapter {name}.{key}: off by {np.abs(got - wanted).max():.2g}")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
