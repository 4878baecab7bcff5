"""Low-rank adapters: what is trained in place of all weights (arXiv 2106.09685).

A layer's matrix W [in, out] becomes W + alpha / rank · A B, with A [in, rank] drawn and B [rank, out] zero at first, so
that training begins at the model as it was. Every matrix of the blocks has one; embedding and output layer stay.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from cgcli.train.model import DEVIATION, Params
from cgcli.train.recipe import LoraPart

ADAPTED = ("qkv", "out", "fc_in", "fc_out")


def init(params: Params, part: LoraPart, seed: int) -> Params:
    """Adapters of rank `part.rank` for `params`: {"blocks": {name: {"a": [L, in, rank], "b": [L, rank, out]}}}."""
    rng = np.random.default_rng(seed)

    def adapter(name: str) -> Params:
        layers, width, *out = params["blocks"][name].shape
        a = rng.standard_normal((layers, width, part.rank), np.float32)
        return {"a": DEVIATION * jnp.asarray(a), "b": jnp.zeros((layers, part.rank, *out))}

    return {"blocks": {name: adapter(name) for name in ADAPTED}}


def attached(params: Params, adapters: Params, part: LoraPart) -> Params:
    """`params` with the adapters beside their matrices, for `model` to run: no whole matrix ever gets a gradient."""
    scale = part.alpha / part.rank
    beside = {name: {"a": scale * one["a"], "b": one["b"]} for name, one in adapters["blocks"].items()}
    return {**params, "blocks": {**params["blocks"], "adapters": beside}}


def merged(params: Params, adapters: Params, part: LoraPart) -> Params:
    """`params` with the adapters added to their matrices: a model as any other."""
    blocks = dict(params["blocks"])
    for name, adapter in adapters["blocks"].items():
        product = jnp.einsum("lir,lr...->li...", adapter["a"], adapter["b"], precision=jax.lax.Precision.HIGHEST)
        blocks[name] = blocks[name] + part.alpha / part.rank * product
    return {**params, "blocks": blocks}
