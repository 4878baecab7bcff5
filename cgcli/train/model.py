"""CodeGen in JAX: initial weights, forward pass, loss and LoRA adapters; all of it differentiable.

Attention and feed-forward read the same LayerNorm, and both are added to the residual stream; the rotary embedding
turns neighboring dimensions of a head; the output layer is untied and has a bias (transformers' modeling_codegen.py).
Layers are stacked on axis 0 and scanned where there are many, so that compile time does not grow with depth.

Shapes: B sequences, T tokens, L layers, E width, H heads, D size of a head, V vocabulary, F feed-forward width.
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
from cgcli.train.recipe import LoraPart

# {"wte": [V, E], "blocks": {...: [L, ...]}, "ln_f_scale", "ln_f_bias": [E], "head": [E, V], "head_bias": [V]}
Params = dict[str, Any]

ROTARY_BASE = 10_000.0
DEVIATION = 0.02  # of initial weights (initializer_range of the published config.json)
# Queries whose attention scores are computed together, [B, H, QUERIES, T] at a time. A block reads only the keys up to
# its own end, which saves half of the square.
QUERIES = 256
# Models of up to this many layers are unrolled, not scanned: a scan copies what each layer keeps for the backward pass.
# 18 to 30 % more tokens/s on a CPU at 6 layers, for as much more compile time. Not with remat: XLA would then keep what
# is to be recomputed.
UNROLLED_LAYERS = 8
LOGITS_PER_PIECE = 8 << 20  # elements of the logits in memory at a time: 32 MB
ADAPTED = ("qkv", "out", "fc_in", "fc_out")  # matrices with a LoRA adapter; embedding and output layer have none


def init_params(config: CodeGenConfig, seed: int) -> Params:
    """Initial weights, float32: normal with DEVIATION; LayerNorm 1 and 0; biases 0."""
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
    rng = np.random.default_rng(seed)  # the same on every device, and nothing to compile
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
    """[B, T, V] float32 after each of tokens [B, T]. dtype: of the matrix products."""
    return output(params, hidden_states(params, tokens, config, dtype=dtype, remat=remat))


def output(params: Params, hidden: Array) -> Array:
    """Logits [..., V] float32 of final hidden states [..., E]."""
    head = params["head"].astype(hidden.dtype)
    products = jnp.einsum("...e,ev->...v", hidden, head, preferred_element_type=_sum_dtype(hidden.dtype))
    biased: Array = products + params["head_bias"]
    return biased


def hidden_states(
    params: Params, tokens: Array, config: CodeGenConfig, *, dtype: DTypeLike, remat: bool = True
) -> Array:
    """[B, T, E] of `dtype` after the last LayerNorm. remat: keep only each layer's input for the backward pass."""

    def layer(hidden: Array, weights: Params) -> tuple[Array, None]:
        return block(weights, hidden, config), None

    hidden = jnp.take(params["wte"], tokens, axis=0).astype(dtype)
    kept = jax.checkpoint(layer) if remat else layer
    unroll = not remat and config.shape.layers <= UNROLLED_LAYERS
    hidden, _ = jax.lax.scan(kept, hidden, params["blocks"], unroll=unroll)
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
    """[..., in] times the matrix `name` [in, ...], plus its adapter's product if it has one."""
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
            preferred_element_type=_sum_dtype(query.dtype),
        )
        seen = np.arange(first, last)[:, None] >= np.arange(last)
        weights = jax.nn.softmax(jnp.where(seen, scores / math.sqrt(head), -jnp.inf))
        mixed.append(jnp.einsum("bhqk,bhkd->bhqd", weights.astype(value.dtype), value[:, :, :last]))
    return jnp.concatenate(mixed, axis=2)


def rotate(heads: Array, rotary: int) -> Array:
    """Rotary position embedding of [B, H, T, D]: turns the pairs (0,1)(2,3)… of the first `rotary` dimensions."""
    frequencies = ROTARY_BASE ** (-np.arange(0, rotary, 2) / rotary)
    angles = np.arange(heads.shape[-2])[:, None] * frequencies  # [T, rotary / 2]
    sine, cosine = (jnp.asarray(part(angles), _sum_dtype(heads.dtype)) for part in (np.sin, np.cos))
    even, odd = heads[..., :rotary:2], heads[..., 1:rotary:2]
    turned = jnp.stack([even * cosine - odd * sine, odd * cosine + even * sine], axis=-1)
    turned = turned.reshape(*heads.shape[:-1], rotary).astype(heads.dtype)
    return jnp.concatenate([turned, heads[..., rotary:]], axis=-1)


def layer_norm(hidden: Array, scale: Array, bias: Array, epsilon: float) -> Array:
    """Layer normalization of the last axis, computed in float32, returned in the type of `hidden`."""
    wide = hidden.astype(_sum_dtype(hidden.dtype))
    centred = wide - wide.mean(axis=-1, keepdims=True)
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    return (centred * jax.lax.rsqrt(variance + epsilon) * scale + bias).astype(hidden.dtype)


def loss(
    params: Params,
    tokens: Array,
    config: CodeGenConfig,
    *,
    z_loss: float,
    dtype: DTypeLike,
    remat: bool = True,
) -> tuple[Array, dict[str, Array]]:
    """The training loss of records [B, T] int32, T - 1 predictions each, and its parts, averaged over predictions.

    "nll": negative log-likelihood, nats per token. "z": logsumexp squared, weighted by `z_loss`; it keeps the logits
    from drifting (salesforce/jaxformer model.py).
    """
    hidden = hidden_states(params, tokens[:, :-1], config, dtype=dtype, remat=remat)
    nll, z = jax.tree.map(lambda total: total / tokens[:, 1:].size, _loss_sums(params, hidden, tokens[:, 1:]))
    return nll + z_loss * z, {"nll": nll, "z": z}


def _loss_sums(params: Params, hidden: Array, targets: Array) -> tuple[Array, Array]:
    """Sums over positions of targets' [B, T] negative log-probability and of logsumexp squared, given hidden [B, T, E].

    The logits [B, T, V] are never in memory as a whole: they are computed a few positions at a time, and again for the
    backward pass.
    """
    batch, length = targets.shape
    piece = min(length, max(1, LOGITS_PER_PIECE // (batch * params["head"].shape[1])))
    pieces, rest = divmod(length, piece)

    @jax.checkpoint
    def part(hidden: Array, targets: Array) -> tuple[Array, Array]:
        logits = output(params, hidden)
        total = jax.nn.logsumexp(logits, axis=-1)
        # Comparing with every id, unlike a gather, can be split by vocabulary.
        ids = jax.lax.broadcasted_iota(targets.dtype, logits.shape, logits.ndim - 1)
        chosen = jnp.where(ids == targets[..., None], logits, 0).sum(axis=-1)
        return (total - chosen).sum(), (total * total).sum()

    def add(sums: tuple[Array, Array], at: Array) -> tuple[tuple[Array, Array], None]:
        cut = (jax.lax.dynamic_slice_in_dim(whole, at * piece, piece, axis=1) for whole in (hidden, targets))
        return jax.tree.map(jnp.add, sums, part(*cut)), None

    zero = jnp.zeros((), jnp.promote_types(hidden.dtype, jnp.float32))
    sums, _ = jax.lax.scan(add, (zero, zero), jnp.arange(pieces))
    if rest:
        sums = jax.tree.map(jnp.add, sums, part(hidden[:, -rest:], targets[:, -rest:]))
    return sums


def init_adapters(params: Params, part: LoraPart, seed: int) -> Params:
    """LoRA adapters of rank `part.rank` for `params`: {"blocks": {name: {"a": [L, in, rank], "b": [L, rank, out]}}}.

    They are trained in place of the weights (arXiv 2106.09685): a matrix W [in, out] becomes W + alpha / rank · A B.
    A is random and B zero, so training starts from the model as it is.
    """
    rng = np.random.default_rng(seed)

    def adapter(name: str) -> Params:
        layers, width, *out = params["blocks"][name].shape
        a = rng.standard_normal((layers, width, part.rank), np.float32)
        return {"a": DEVIATION * jnp.asarray(a), "b": jnp.zeros((layers, part.rank, *out))}

    return {"blocks": {name: adapter(name) for name in ADAPTED}}


def attach_adapters(params: Params, adapters: Params, part: LoraPart) -> Params:
    """`params` with the adapters beside their matrices, for the forward pass; the matrices get no gradient."""
    scale = part.alpha / part.rank
    beside = {name: {"a": scale * one["a"], "b": one["b"]} for name, one in adapters["blocks"].items()}
    return {**params, "blocks": {**params["blocks"], "adapters": beside}}


def merge_adapters(params: Params, adapters: Params, part: LoraPart) -> Params:
    """`params` with the adapters added to their matrices: an ordinary model."""
    blocks = dict(params["blocks"])
    for name, adapter in adapters["blocks"].items():
        product = jnp.einsum("lir,lr...->li...", adapter["a"], adapter["b"], precision=jax.lax.Precision.HIGHEST)
        blocks[name] = blocks[name] + part.alpha / part.rank * product
    return {**params, "blocks": blocks}


def _sum_dtype(dtype: DTypeLike) -> DTypeLike:
    """The type of sums: float32, or float64 for float64."""
    return jnp.promote_types(dtype, jnp.float32)
