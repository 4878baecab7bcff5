"""Where arrays lie when there are several devices: a mesh with the axes "data" and "model".

Devices along "data" read different records. Those along "model" share a layer, as Megatron-LM splits it (arXiv
1909.08053): attention by heads, the feed-forward layer by its inner units, embedding and output by vocabulary; what is
left is on all of them. Only the places are said here: JAX finds the communication.
"""

from __future__ import annotations

from typing import Any, TypeVar

import jax
from jax import Array
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from cgcli.core.errors import UsageError
from cgcli.train.recipe import Recipe

TreeT = TypeVar("TreeT")

# Of each array's axes, the one that is split over "model". All else, adapters of LoRA too, is whole on every device.
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
    """All devices, of all processes. Raises UsageError where the recipe cannot be divided among them."""
    split, model = recipe.compute.model_parallel, recipe.model
    devices = jax.device_count()
    if split < 1 or devices % split:
        raise UsageError(f"[compute] model_parallel {split}: the devices are {devices}")
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


def places(tree: TreeT, mesh: Mesh) -> TreeT:
    """The sharding of every array in `tree`: weights by their names, and the optimiser's moments, named as they are."""

    def place(path: tuple[Any, ...], _: Any) -> NamedSharding:
        name = next((key.key for key in reversed(path) if isinstance(key, jax.tree_util.DictKey)), "")
        return NamedSharding(mesh, PLACES.get(name, P()))

    placed: TreeT = jax.tree_util.tree_map_with_path(place, tree)
    return placed


def shard_state(state: TreeT, mesh: Mesh) -> TreeT:
    """`state`, the same in every process, put where it belongs."""
    placed: TreeT = jax.device_put(state, places(state, mesh))
    return placed


def shard_batch(tokens: Any, mesh: Mesh) -> Array:
    """This process's records [accumulate, its share, T] as a part of the array of all processes."""
    placed: Array = jax.make_array_from_process_local_data(NamedSharding(mesh, RECORDS), tokens)
    return placed
