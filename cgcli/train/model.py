"""CodeGen's forward pass in JAX: the block, its initial weights, logits; differentiable.

Attention and feed-forward read the same LayerNorm and are added to the residual stream together; rotary position
embedding of neighbours on the first dimensions of a head; an untied output layer with a bias (transformers'
modeling_codegen.py). It knows no loss, no optimiser and no file: weights on disk are `hub_layout`'s. Layers are stacked
on axis 0 and, where they are many, scanned: compiling then does not take longer with depth.

B sequences of T tokens, L layers, width E, H heads of size D, vocabulary V, feed-forward width F.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from cgcli.convert.config import CodeGenConfig

# {"wte": [V, E], "blocks": {...: [L, ...]}, "ln_f_scale", "ln_f_bias": [E], "head": [E, V], "head_bias": [V]}
Params = dict[str, Any]

ROTARY_BASE = 10_000.0
DEVIATION = 0.02  # of initial weights (initializer_range of the published config.json)
# Queries of a sequence whose scores are computed together. A block reads the keys up to its own end only, which
# saves half of the square, and scores take [B, H, QUERIES, T] at a time.
QUERIES = 256
# A scan copies what each layer keeps for the backward pass. Of a model of few layers they are written out one after the
# other instead: 18 to 30 % more tokens/s on a CPU at 6 layers, for as much longer compiling. Not with remat: XLA would
# then keep of all layers what is to be computed again.
WRITTEN_OUT = 8


def init(config: CodeGenConfig, seed: int) -> Params:
    """Weights to begin with, float32: normal of DEVIATION, LayerNorm 1 and 0, biases 0."""
    shape = config.shape
    layers, width, inner, vocabulary = shape.layers, shape.width, shape.inner, shape.vocabulary
    shapes = {
        "wte": (vocabulary, width),
        "qkv": (layers, width, 3, width),
        "out": (layers, width, width),
        "fc_in": (layers, width, inner),
        "fc_out": (layers, inner, width),
        "head": (width, vocabulary),
    }
    rng = np.random.default_rng(seed)  # the same on every machine and device, and nothing to compile
    normal = {name: DEVIATION * jnp.asarray(rng.standard_normal(shape, np.float32)) for name, shape in shapes.items()}
    return {
        "wte": normal["wte"],
        "blocks": {
            "ln_scale": jnp.ones((layers, width)),
            "ln_bias": jnp.zeros((layers, width)),
            "qkv": normal["qkv"],
            "out": normal["out"],
            "fc_in": normal["fc_in"],
            "fc_in_bias": jnp.zeros((layers, inner)),
            "fc_out": normal["fc_out"],
            "fc_out_bias": jnp.zeros((layers, width)),
        },
        "ln_f_scale": jnp.ones(width),
        "ln_f_bias": jnp.zeros(width),
        "head": normal["head"],
        "head_bias": jnp.zeros(vocabulary),
    }


def logits(params: Params, tokens: Array, config: CodeGenConfig, *, dtype: DTypeLike, remat: bool = True) -> Array:
    """[B, T, V] float32 after each of tokens [B, T]. dtype: of the products."""
    return output(params, hidden_states(params, tokens, config, dtype=dtype, remat=remat))


def output(params: Params, hidden: Array) -> Array:
    """Logits [..., V] float32 of final hidden states [..., E]."""
    head = params["head"].astype(hidden.dtype)
    products = jnp.einsum("...e,ev->...v", hidden, head, preferred_element_type=_sums(hidden.dtype))
    biased: Array = products + params["head_bias"]
    return biased


def hidden_states(
    params: Params, tokens: Array, config: CodeGenConfig, *, dtype: DTypeLike, remat: bool = True
) -> Array:
    """[B, T, E] of `dtype` after the last LayerNorm. remat: of a layer only its input is kept for the backward pass."""

    def layer(hidden: Array, weights: Params) -> tuple[Array, None]:
        return block(weights, hidden, config), None

    hidden = jnp.take(params["wte"], tokens, axis=0).astype(dtype)
    kept = jax.checkpoint(layer) if remat else layer
    hidden, _ = jax.lax.scan(kept, hidden, params["blocks"], unroll=not remat and config.shape.layers <= WRITTEN_OUT)
    return layer_norm(hidden, params["ln_f_scale"], params["ln_f_bias"], config.epsilon)


def block(weights: Params, hidden: Array, config: CodeGenConfig) -> Array:
    """One layer: [B, T, E] to [B, T, E]. weights: the layer's own, without axis L."""
    dtype, (batch, length, width) = hidden.dtype, hidden.shape
    normed = layer_norm(hidden, weights["ln_scale"], weights["ln_bias"], config.epsilon)
    heads = product(normed, weights, "qkv").reshape(batch, length, 3, config.shape.heads, config.shape.head)
    query, key, value = heads.transpose(2, 0, 3, 1, 4)
    mixed = attention(rotate(query, config.shape.rotary), rotate(key, config.shape.rotary), value)
    attended = product(mixed.transpose(0, 2, 1, 3).reshape(batch, length, width), weights, "out")
    inner: Array = product(normed, weights, "fc_in") + weights["fc_in_bias"].astype(dtype)
    fed: Array = product(jax.nn.gelu(inner, approximate=True), weights, "fc_out") + weights["fc_out_bias"].astype(dtype)
    return hidden + attended + fed


def product(inputs: Array, weights: Params, name: str) -> Array:
    """[..., in] times the matrix of that name [in, ...], and through its low-rank adapter where there is one."""
    result = jnp.tensordot(inputs, weights[name].astype(inputs.dtype), 1)
    if "adapters" in weights:
        adapter = weights["adapters"][name]
        low = jnp.tensordot(inputs, adapter["a"].astype(inputs.dtype), 1)
        result += jnp.tensordot(low, adapter["b"].astype(inputs.dtype), 1)
    return result


def attention(query: Array, key: Array, value: Array) -> Array:
    """Causal attention of [B, H, T, D] each: [B, H, T, D]. Scores and softmax are float32, as CodeGen's."""
    length, head = query.shape[-2:]
    mixed = []
    for first in range(0, length, QUERIES):
        last = min(first + QUERIES, length)
        scores = jnp.einsum(
            "bhqd,bhkd->bhqk",
            query[:, :, first:last],
            key[:, :, :last],
            preferred_element_type=_sums(query.dtype),
        )
        seen = np.arange(first, last)[:, None] >= np.arange(last)
        weights = jax.nn.softmax(jnp.where(seen, scores / math.sqrt(head), -jnp.inf))
        mixed.append(jnp.einsum("bhqk,bhkd->bhqd", weights.astype(value.dtype), value[:, :, :last]))
    return jnp.concatenate(mixed, axis=2)


def rotate(heads: Array, rotary: int) -> Array:
    """Rotary position embedding of [B, H, T, D]: neighbours (0,1)(2,3)… of the first `rotary` dimensions."""
    frequencies = ROTARY_BASE ** (-np.arange(0, rotary, 2) / rotary)
    angles = np.arange(heads.shape[-2])[:, None] * frequencies  # [T, rotary / 2]
    sine, cosine = (jnp.asarray(part(angles), _sums(heads.dtype)) for part in (np.sin, np.cos))
    even, odd = heads[..., :rotary:2], heads[..., 1:rotary:2]
    turned = jnp.stack([even * cosine - odd * sine, odd * cosine + even * sine], axis=-1)
    turned = turned.reshape(*heads.shape[:-1], rotary).astype(heads.dtype)
    return jnp.concatenate([turned, heads[..., rotary:]], axis=-1)


def layer_norm(hidden: Array, scale: Array, bias: Array, epsilon: float) -> Array:
    """Over the last axis, in float32, as the type of `hidden`."""
    wide = hidden.astype(_sums(hidden.dtype))
    centred = wide - wide.mean(axis=-1, keepdims=True)
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    return (centred * jax.lax.rsqrt(variance + epsilon) * scale + bias).astype(hidden.dtype)


def _sums(dtype: DTypeLike) -> DTypeLike:
    """The type that sums are kept in: float32, or float64 where all is."""
    return jnp.promote_types(dtype, jnp.float32)
