"""Distributes arrays over several devices: a mesh with the axes "data" and "model".

Devices along "data" read different records. Devices along "model" share each layer as in Megatron-LM (arXiv
1909.08053): attention is split by heads, the feed-forward layer by inner units, embedding and output layer by
vocabulary; everything else is replicated. JAX derives the communication from these shardings.
"""

from __future__ import annotations

from typing import Any, TypeVar

import jax
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from cgcli.core.errors import UsageError
from cgcli.core.units import plural
from cgcli.train.recipe import Recipe

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
