"""AdamW as the paper's, in its order: clip by global norm, Adam, decay of the matrices, minus the learning rate.

After salesforce/jaxformer model.py and utils.py, except that decay goes by name: there it goes by the number of axes,
and so the LayerNorm and the biases of stacked layers are decayed, too.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from cgcli.train.recipe import OptimizerPart

DECAYED = frozenset({"wte", "qkv", "out", "fc_in", "fc_out", "head"})


def build(part: OptimizerPart) -> optax.GradientTransformation:
    """From gradients, a mean over the records, to what is added to the weights."""
    return optax.chain(
        optax.clip_by_global_norm(part.clip),
        optax.scale_by_adam(part.beta1, part.beta2, part.epsilon),
        optax.add_decayed_weights(part.weight_decay, _decayed),
        optax.scale_by_learning_rate(schedule(part)),
    )


def schedule(part: OptimizerPart) -> optax.Schedule:
    """The learning rate of a step, the first being 0: a line from 0 to `lr`, then half a cosine down to `lr_end`."""
    anneal = part.anneal or part.steps - part.warmup

    def rate(step: Any) -> Array:
        rising = part.lr * step / max(1, part.warmup)
        along = jnp.clip((step - part.warmup) / max(1, anneal), 0, 1)
        falling = part.lr - (part.lr - part.lr_end) * (1 - jnp.cos(jnp.pi * along)) / 2
        return jnp.where(step < part.warmup, rising, falling)

    return rate


def _decayed(params: Any) -> Any:
    """Which leaves are matrices, or adapters of one: a tree of bools."""
    return jax.tree_util.tree_map_with_path(lambda path, _: any(getattr(k, "key", "") in DECAYED for k in path), params)
