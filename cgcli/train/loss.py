"""The training loss: how surprised the model is by the next token, and the z-loss that keeps logits from drifting.

Logits are made a few positions at a time and made again for the backward pass: [B, T, V] is never whole.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from cgcli.convert.config import CodeGenConfig
from cgcli.train.model import Params, hidden_states, output

PIECE_ELEMENTS = 8 << 20  # of logits made at a time: 32 MB


def loss(
    params: Params,
    tokens: Array,
    config: CodeGenConfig,
    *,
    z_loss: float,
    dtype: DTypeLike,
    remat: bool = True,
) -> tuple[Array, dict[str, Array]]:
    """What is minimised, of records [B, T] int32, T - 1 predictions each; and its parts, means over predictions.

    "nll": nats a token. "z": logsumexp squared, of which `z_loss` times is added (salesforce/jaxformer model.py).
    """
    hidden = hidden_states(params, tokens[:, :-1], config, dtype=dtype, remat=remat)
    nll, z = jax.tree.map(lambda total: total / tokens[:, 1:].size, _sums(params, hidden, tokens[:, 1:]))
    return nll + z_loss * z, {"nll": nll, "z": z}


def _sums(params: Params, hidden: Array, targets: Array) -> tuple[Array, Array]:
    """Over all positions: negative log-probability of targets [B, T], and logsumexp squared, given hidden [B, T, E]."""
    batch, length = targets.shape
    piece = min(length, max(1, PIECE_ELEMENTS // (batch * params["head"].shape[1])))
    pieces, rest = divmod(length, piece)

    @jax.checkpoint
    def part(hidden: Array, targets: Array) -> tuple[Array, Array]:
        logits = output(params, hidden)
        total = jax.nn.logsumexp(logits, axis=-1)
        # Compared with every id instead of gathered: it can be split by vocabulary.
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
