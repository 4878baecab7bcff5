"""One step of training: gradients of all records of the batch, and what the optimiser makes of them.

Weights and their gradients' sums are float32; products are of the recipe's type. It knows no file and no data.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh

from cgcli.convert.config import CodeGenConfig
from cgcli.train import lora, model, optimizer
from cgcli.train.loss import loss
from cgcli.train.mesh import places
from cgcli.train.model import Params
from cgcli.train.recipe import Recipe

# float16 has no gradient below 6e-8: they are made this much larger. One that is not finite is passed over.
FLOAT16_SCALE = 1024.0
FLOAT16_MAX_PASSED_OVER = 100  # steps in a row


class TrainState(NamedTuple):
    """step: how many were done, a scalar int32; params: what is trained; opt_state: the optimiser's own."""

    step: Array
    params: Params
    opt_state: Any


class Step(Protocol):
    """(state, tokens [accumulate, sequences / accumulate, T] int32) to the next state and metrics.

    base: the frozen weights that adapters stand beside, only where the recipe has a LoRA rank. The state given is used
    up. Metrics are scalars: "loss" as minimised, "nll" in nats a token, "z", "grad_norm" before it is clipped, "lr".
    """

    def __call__(
        self, state: TrainState, tokens: Array, base: Params | None = None
    ) -> tuple[TrainState, dict[str, Array]]: ...


def init_state(recipe: Recipe, params: Params | None = None) -> TrainState:
    """Before the first step: from `params`, or from freshly drawn weights.

    Where the recipe has a LoRA rank the state is of adapters alone, and `params` are the model's, which the step wants.
    """
    if params is None:
        params = model.init(CodeGenConfig(recipe.model), recipe.compute.seed)
    if recipe.lora.rank:
        params = lora.init(params, recipe.lora, recipe.compute.seed)
    return TrainState(jnp.zeros((), jnp.int32), params, jax.jit(_optimizer(recipe).init)(params))


def make_step(recipe: Recipe, mesh: Mesh) -> Step:
    """The step, compiled at its first call."""
    config, compute = CodeGenConfig(recipe.model), recipe.compute
    transform, rate = _optimizer(recipe), optimizer.schedule(recipe.optimizer)
    scale = FLOAT16_SCALE if compute.dtype == "float16" else 1.0

    def scaled(trained: Params, base: Params | None, tokens: Array) -> tuple[Array, dict[str, Array]]:
        params = trained if base is None else lora.attached(base, trained, recipe.lora)
        total, parts = loss(
            params, tokens, config, z_loss=recipe.optimizer.z_loss, dtype=compute.dtype, remat=compute.remat
        )
        return scale * total, {"loss": total, **parts}

    def step(state: TrainState, tokens: Array, base: Params | None = None) -> tuple[TrainState, dict[str, Array]]:
        def add(sums: Any, records: Array) -> tuple[Any, None]:
            gradients, metrics = jax.grad(scaled, has_aux=True)(state.params, base, records)
            return jax.tree.map(jnp.add, sums, (gradients, metrics)), None

        metrics = dict.fromkeys(("loss", "nll", "z"), jnp.zeros(()))
        sums, _ = jax.lax.scan(add, (jax.tree.map(jnp.zeros_like, state.params), metrics), tokens)
        gradients, metrics = jax.tree.map(lambda sum: sum / len(tokens), sums)
        gradients = jax.tree.map(lambda gradient: gradient / scale, gradients)
        metrics |= {"grad_norm": optax.tree.norm(gradients), "lr": rate(state.step)}
        updates, opt_state = transform.update(gradients, state.opt_state, state.params)
        after = TrainState(state.step + 1, optax.apply_updates(state.params, updates), opt_state)
        return jax.lax.with_sharding_constraint(after, places(after, mesh)), metrics

    return jax.jit(step, donate_argnums=0)


def _optimizer(recipe: Recipe) -> optax.GradientTransformation:
    transform = optimizer.build(recipe.optimizer)
    if recipe.compute.dtype == "float16":
        return optax.apply_if_finite(transform, FLOAT16_MAX_PASSED_OVER)
    return transform
