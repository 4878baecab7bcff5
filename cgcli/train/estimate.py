"""Estimates parameters, memory, operations and time of a run from its recipe, without JAX.

Operations are counted as in PaLM (arXiv 2204.02311, appendix B): 6 per weight and token, and 12 · layers · width ·
context for attention, which counts the masked half of the square. Recomputation (remat) is not counted, so that shares
of peak can be compared. Memory is that of the tensors, to about a quarter (tests/train/test_estimate.py compares it
with XLA's own figure); XLA's code and Python come on top.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cgcli.core.errors import CgcliError
from cgcli.hub.sizes import parameters
from cgcli.terminal.text import size
from cgcli.train.recipe import Recipe, with_values

FLOAT = 4  # bytes of a master weight, gradient or moment
SHARE = 0.3  # of the measured peak, reached by a small model on two cores; assumed before a run starts
LOSS_PIECE = 32 << 20  # bytes of logits computed at a time (model.py)
QUERIES = 256  # rows of attention scores computed at a time (model.py)
RESERVE = 600_000_000  # bytes of a process with JAX and a compiled step


@dataclass(frozen=True)
class TrainingEstimate:
    """Estimated size of a run. Bytes are per device."""

    parameters: int  # of the model
    trained: int  # parameters that are trained
    weights_bytes: int
    optimizer_bytes: int
    gradients_bytes: int
    activations_bytes: int
    flops_a_token: int
    tokens_a_step: int
    steps: int

    @property
    def memory_bytes(self) -> int:
        return self.weights_bytes + self.optimizer_bytes + self.gradients_bytes + self.activations_bytes + RESERVE

    def seconds(self, flops_a_second: float, done: int = 0) -> float:
        """Time left after `done` steps. flops_a_second: measured rate of matrix products on all devices."""
        flops = self.flops_a_token * self.tokens_a_step * max(0, self.steps - done)
        return flops / (flops_a_second * SHARE)


def flops_a_token(recipe: Recipe) -> int:
    """Operations per token, forward and backward. With LoRA, frozen weights cost 4 instead of 6: they need no
    gradient."""
    model, adapters = recipe.model, _adapters(recipe)
    weights = (4 if adapters else 6) * _matrices(recipe) + 6 * adapters
    return weights + 12 * model.layers * model.width * model.context


def estimate(recipe: Recipe, devices: int = 1) -> TrainingEstimate:
    """devices: all that a step is spread over, those of `model_parallel` included."""
    batch, compute = recipe.batch, recipe.compute
    whole, adapters = parameters(recipe.model), _adapters(recipe)
    trained = adapters or whole
    split = compute.model_parallel
    number = _bytes(recipe)
    copies = FLOAT + (0 if number == FLOAT else number)  # the masters, and copies in the type of the products
    gradients = trained * FLOAT * (2 if batch.accumulate > 1 else 1)
    return TrainingEstimate(
        parameters=whole,
        trained=trained,
        weights_bytes=(whole * copies + adapters * FLOAT) // split,
        optimizer_bytes=2 * trained * FLOAT // split,
        gradients_bytes=gradients // split,
        activations_bytes=_activations(recipe, max(1, devices // split)),
        flops_a_token=flops_a_token(recipe),
        tokens_a_step=batch.sequences * recipe.model.context,
        steps=recipe.optimizer.steps,
    )


def check_memory(recipe: Recipe, available_bytes: int, devices: int = 1) -> TrainingEstimate:
    """Return the estimate. Raises CgcliError, with advice, if it exceeds the memory of a device."""
    found = estimate(recipe, devices)
    if found.memory_bytes <= available_bytes:
        return found
    raise CgcliError(
        f"training {recipe.name} needs about {size(found.memory_bytes)} of memory; "
        f"{size(available_bytes)} are available",
        hint=_what_fits(recipe, available_bytes, devices),
    )


def fits(recipe: Recipe, available_bytes: int, devices: int = 1) -> bool:
    return estimate(recipe, devices).memory_bytes <= available_bytes


def _what_fits(recipe: Recipe, available_bytes: int, devices: int) -> str:
    """The smallest change that makes the run fit."""
    batch = recipe.batch
    divisors = (one for one in range(1, batch.sequences + 1) if batch.sequences % one == 0 and one > batch.accumulate)
    for accumulate in divisors:
        if fits(with_values(recipe, batch={"accumulate": accumulate}), available_bytes, devices):
            return f"set [batch] accumulate = {accumulate} in the recipe"
    small = with_values(recipe, batch={"accumulate": batch.sequences}, compute={"remat": True})
    if fits(small, available_bytes, devices):
        return f"set [batch] accumulate = {batch.sequences} and [compute] remat = true in the recipe"
    adapted = replace(small, lora=replace(recipe.lora, rank=recipe.lora.rank or 8))
    if fits(adapted, available_bytes, devices):
        return f"train adapters: --lora {adapted.lora.rank}, with [batch] accumulate = {batch.sequences} in the recipe"
    needs = size(estimate(adapted, devices).memory_bytes)
    return f"train a smaller model; even --lora {adapted.lora.rank} with one sequence at a time needs {needs}"


def _matrices(recipe: Recipe) -> int:
    """Weights in matrix products: those of the layers and of the output layer."""
    model = recipe.model
    return 12 * model.layers * model.width**2 + model.width * model.vocabulary


def _adapters(recipe: Recipe) -> int:
    """Weights of the adapters of qkv, out, fc_in and fc_out in each layer, (rows + columns) · rank each."""
    model, width = recipe.model, recipe.model.width
    return recipe.lora.rank * model.layers * ((1 + 3) + (1 + 1) + (1 + 4) + (4 + 1)) * width


def _activations(recipe: Recipe, data_parallel: int) -> int:
    """Bytes that a forward pass keeps for the backward pass, and its largest temporary arrays."""
    model, number = recipe.model, _bytes(recipe)
    sequences = -(-recipe.batch.sequences // recipe.batch.accumulate // data_parallel)
    tokens = sequences * model.context
    # A layer: its input; normed, q, k, v, mixed, out (6 widths); inner before and after GELU (8); LayerNorm in float32.
    layer = tokens * model.width * (14 * number + 2 * FLOAT)
    scores = sequences * model.heads * model.context * FLOAT
    kept = tokens * model.width * number * model.layers
    if not recipe.compute.remat:
        # Half of the square is computed; scores, masked scores, exponentials, weights and sums are kept.
        kept += model.layers * (layer + 5 * scores * model.context // 2)
    working = 2 * layer + 3 * scores * min(QUERIES, model.context)
    logits = 3 * min(LOSS_PIECE, tokens * model.vocabulary * FLOAT)
    return (kept + working) // recipe.compute.model_parallel + logits


def _bytes(recipe: Recipe) -> int:
    return FLOAT if recipe.compute.dtype == "float32" else 2
