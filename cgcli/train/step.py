"""One optimizer step: the gradients of a batch, AdamW's update of the weights, and how both are spread over devices.

Weights and sums of gradients are float32; matrix products have the recipe's dtype. The order is the paper's: clip by
global norm, Adam, decay of the matrices, minus the learning rate (salesforce/jaxformer model.py and utils.py). Only,
decay goes by name here: there it goes by the number of axes, which also decays LayerNorm and biases of stacked layers.

The devices form a mesh with the axes "data" and "model". Devices along "data" read different records. Devices along
"model" share each layer as in Megatron-LM (arXiv 1909.08053): attention is split by heads, the feed-forward layer by
inner units, embedding and output layer by vocabulary; everything else is replicated. JAX derives the communication from
these shardings.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from cgcli.convert.config import CodeGenConfig
from cgcli.core.errors import UsageError
from cgcli.terminal.text import plural
from cgcli.train import model
from cgcli.train.model import Params
from cgcli.train.recipe import OptimizerPart, Recipe

TreeT = TypeVar("TreeT")

# The axis of each array that is split over "model". All other arrays, LoRA adapters too, are replicated.
PLACES = {
    "wte": P("model", None),
    "qkv": P(None, None, None, "model"),
    "out": P(None, "model", None),
    "fc_in": P(None, None, "model"),
    "fc_in_bias": P(None, "model"),
    "fc_out": P(None, "model", None),
    "head": P(None, "model"),
    "head_bias": P("model"),
}
RECORDS = P(None, "data", None)  # [accumulate, sequences / accumulate, T]


def make_mesh(recipe: Recipe) -> Mesh:
    """A mesh of all devices of all processes. Raises UsageError if the recipe cannot be divided among them."""
    split, model = recipe.compute.model_parallel, recipe.model
    devices = jax.device_count()
    if split < 1 or devices % split:
        raise UsageError(f"[compute] model_parallel {split} does not divide {plural(devices, 'device')}")
    for name, value in (("heads", model.heads), ("vocabulary", model.vocabulary)):
        if value % split:
            raise UsageError(f"[model] {name} {value} is not divisible by [compute] model_parallel {split}")
    together = recipe.batch.sequences // recipe.batch.accumulate
    if together % (devices // split):
        raise UsageError(
            f"[batch] sequences {recipe.batch.sequences} / accumulate {recipe.batch.accumulate} = {together} records "
            f"are not divisible among {devices // split} devices"
        )
    return jax.make_mesh((devices // split, split), ("data", "model"), (AxisType.Auto, AxisType.Auto))


def shardings(tree: TreeT, mesh: Mesh) -> TreeT:
    """The sharding of every array in `tree`, by name; the optimizer's moments have the names of the weights."""

    def place(path: tuple[Any, ...], _: Any) -> NamedSharding:
        name = next((key.key for key in reversed(path) if isinstance(key, jax.tree_util.DictKey)), "")
        return NamedSharding(mesh, PLACES.get(name, P()))

    placed: TreeT = jax.tree_util.tree_map_with_path(place, tree)
    return placed


def shard_state(state: TreeT, mesh: Mesh) -> TreeT:
    """Distribute `state`, which is the same in every process, over the mesh."""
    placed: TreeT = jax.device_put(state, shardings(state, mesh))
    return placed


def shard_batch(tokens: Any, mesh: Mesh) -> Array:
    """The global batch; `tokens` [accumulate, share, T] are the records of this process."""
    placed: Array = jax.make_array_from_process_local_data(NamedSharding(mesh, RECORDS), tokens)
    return placed


DECAYED = frozenset({"wte", "qkv", "out", "fc_in", "fc_out", "head"})
# float16 has no gradient below 6e-8, so the loss is scaled by this. A step whose gradient is not finite is skipped.
FLOAT16_SCALE = 1024.0
FLOAT16_MAX_SKIPPED = 100  # steps in a row


class TrainState(NamedTuple):
    """Everything that a step changes."""

    step: Array  # steps done, a scalar int32
    params: Params  # the trained weights: the model's, or the adapters'
    opt_state: Any  # the optimizer's own


class TrainStep(Protocol):
    """Maps a state and tokens [accumulate, sequences / accumulate, T] int32 to the next state and metrics.

    base: the frozen weights, if the recipe trains adapters. The buffers of the given state are reused. Metrics are
    scalars: "loss", "nll" in nats per token, "z", "grad_norm" before clipping, "lr".
    """

    def __call__(
        self, state: TrainState, tokens: Array, base: Params | None = None
    ) -> tuple[TrainState, dict[str, Array]]: ...


def init_state(recipe: Recipe, params: Params | None = None) -> TrainState:
    """The state before the first step, from `params` or random weights.

    With a LoRA rank, the state holds the adapters alone; pass `params` to the step as `base`.
    """
    if params is None:
        params = model.init_params(CodeGenConfig(recipe.model), recipe.compute.seed)
    if recipe.lora.rank:
        params = model.init_adapters(params, recipe.lora, recipe.compute.seed)
    return TrainState(jnp.zeros((), jnp.int32), params, jax.jit(_recipe_optimizer(recipe).init)(params))


def make_step(recipe: Recipe, mesh: Mesh) -> TrainStep:
    """The step of a recipe, compiled at its first call."""
    config, compute = CodeGenConfig(recipe.model), recipe.compute
    transform, rate = _recipe_optimizer(recipe), learning_rate(recipe.optimizer)
    scale = FLOAT16_SCALE if compute.dtype == "float16" else 1.0

    def scaled(trained: Params, base: Params | None, tokens: Array) -> tuple[Array, dict[str, Array]]:
        params = trained if base is None else model.attach_adapters(base, trained, recipe.lora)
        total, parts = model.loss(
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
        return jax.lax.with_sharding_constraint(after, shardings(after, mesh)), metrics

    return jax.jit(step, donate_argnums=0)


def _recipe_optimizer(recipe: Recipe) -> optax.GradientTransformation:
    transform = make_optimizer(recipe.optimizer)
    if recipe.compute.dtype == "float16":
        return optax.apply_if_finite(transform, FLOAT16_MAX_SKIPPED)
    return transform


def make_optimizer(part: OptimizerPart) -> optax.GradientTransformation:
    """Turns gradients, averaged over the records, into updates of the weights."""
    return optax.chain(
        optax.clip_by_global_norm(part.clip),
        optax.scale_by_adam(part.beta1, part.beta2, part.epsilon),
        optax.add_decayed_weights(part.weight_decay, _decayed),
        optax.scale_by_learning_rate(learning_rate(part)),
    )


def learning_rate(part: OptimizerPart) -> optax.Schedule:
    """The learning rate by step, from 0: linear warm-up to `lr`, then half a cosine down to `lr_end`."""
    anneal = part.anneal or part.steps - part.warmup

    def rate(step: Any) -> Array:
        rising = part.lr * step / max(1, part.warmup)
        along = jnp.clip((step - part.warmup) / max(1, anneal), 0, 1)
        falling = part.lr - (part.lr - part.lr_end) * (1 - jnp.cos(jnp.pi * along)) / 2
        return jnp.where(step < part.warmup, rising, falling)

    return rate


def _decayed(params: Any) -> Any:
    """A tree of bools: True for matrices and adapters."""
    return jax.tree_util.tree_map_with_path(lambda path, _: any(getattr(k, "key", "") in DECAYED for k in path), params)
