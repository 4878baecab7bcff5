"""What a run will take, from its recipe alone: parameters, bytes of memory, operations, time.

It imports no JAX. Operations are counted as PaLM does (arXiv 2204.02311, appendix B): 6 a weight and token, and
12 · layers · width · context for attention, which counts the whole square though half of it is masked; what remat does
again is not counted, so that shares of peak can be compared. Memory is what the tensors need, to about a quarter
(tests/train/test_estimate.py holds it to what XLA allots); XLA's own code and Python come on top.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cgcli.core.errors import CgcliError
from cgcli.core.units import size
from cgcli.hub.sizes import parameters
from cgcli.train.recipe import Recipe, with_values

FLOAT = 4  # bytes of masters, gradients and moments
SHARE = 0.3  # of the measured peak that a step of a small model reaches on two cores: assumed before a run has begun
LOSS_PIECE = 32 << 20  # bytes of logits that are made at a time (loss.py)
QUERIES = 256  # rows of attention's scores that are made at a time (model.py)
RESERVE = 600_000_000  # bytes of a process that has JAX loaded and a step compiled


@dataclass(frozen=True)
class Estimate:
    """Bytes are of one device. parameters, trained: of the model, and those that change."""

    parameters: int
    trained: int
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
        """Of what is left after `done` steps. flops_a_second: of products, measured, all devices together."""
        flops = self.flops_a_token * self.tokens_a_step * max(0, self.steps - done)
        return flops / (flops_a_second * SHARE)


def flops_a_token(recipe: Recipe) -> int:
    """Operations of a step, a token: forward and backward. With LoRA the frozen matrices need no gradient of their own:
    4 for each of their weights and not 6."""
    model, adapters = recipe.model, _adapters(recipe)
    weights = (4 if adapters else 6) * _matrices(recipe) + 6 * adapters
    return weights + 12 * model.layers * model.width * model.context


def estimate(recipe: Recipe, devices: int = 1) -> Estimate:
    """devices: how many a step is spread over, those of `model_parallel` included."""
    batch, compute = recipe.batch, recipe.compute
    whole, adapters = parameters(recipe.model), _adapters(recipe)
    trained = adapters or whole
    split = compute.model_parallel
    number = _bytes(recipe)
    copies = FLOAT + (0 if number == FLOAT else number)  # masters, and what is multiplied with
    gradients = trained * FLOAT * (2 if batch.accumulate > 1 else 1)
    return Estimate(
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


def check(recipe: Recipe, available_bytes: int, devices: int = 1) -> Estimate:
    """The estimate. Raises CgcliError where it does not fit into the memory of a device, saying what would."""
    found = estimate(recipe, devices)
    if found.memory_bytes <= available_bytes:
        return found
    raise CgcliError(
        f"training {recipe.name} so needs about {size(found.memory_bytes)} of memory, "
        f"there are {size(available_bytes)}",
        hint=_what_fits(recipe, available_bytes, devices),
    )


def fits(recipe: Recipe, available_bytes: int, devices: int = 1) -> bool:
    return estimate(recipe, devices).memory_bytes <= available_bytes


def _what_fits(recipe: Recipe, available_bytes: int, devices: int) -> str:
    """The gentlest change that does."""
    batch = recipe.batch
    divisors = (one for one in range(1, batch.sequences + 1) if batch.sequences % one == 0 and one > batch.accumulate)
    for accumulate in divisors:
        if fits(with_values(recipe, batch={"accumulate": accumulate}), available_bytes, devices):
            return f"[batch] accumulate = {accumulate} in the recipe fits"
    small = with_values(recipe, batch={"accumulate": batch.sequences}, compute={"remat": True})
    if fits(small, available_bytes, devices):
        return f"[batch] accumulate = {batch.sequences} and [compute] remat = true in the recipe fit"
    adapted = replace(small, lora=replace(recipe.lora, rank=recipe.lora.rank or 8))
    if fits(adapted, available_bytes, devices):
        return f"--lora {adapted.lora.rank} with [batch] accumulate = {batch.sequences} fits"
    needs = size(estimate(adapted, devices).memory_bytes)
    return f"even with --lora {adapted.lora.rank} and one sequence at a time it is {needs}: a smaller model"


def _matrices(recipe: Recipe) -> int:
    """Weights that every token is multiplied with: the layers' and the output's."""
    model = recipe.model
    return 12 * model.layers * model.width**2 + model.width * model.vocabulary


def _adapters(recipe: Recipe) -> int:
    """Weights of the low-rank adapters: of qkv, out, fc_in and fc_out of each layer, each (rows + columns) · rank."""
    model, width = recipe.model, recipe.model.width
    return recipe.lora.rank * model.layers * ((1 + 3) + (1 + 1) + (1 + 4) + (4 + 1)) * width


def _activations(recipe: Recipe, data_parallel: int) -> int:
    """Bytes that one pass keeps for its way back, and the largest that it makes on the way."""
    model, number = recipe.model, _bytes(recipe)
    sequences = -(-recipe.batch.sequences // recipe.batch.accumulate // data_parallel)
    tokens = sequences * model.context
    # A layer: its input; normed, q, k, v, mixed, out (6 widths); inner before and after GELU (8); LayerNorm in float32.
    layer = tokens * model.width * (14 * number + 2 * FLOAT)
    scores = sequences * model.heads * model.context * FLOAT
    kept = tokens * model.width * number * model.layers
    if not recipe.compute.remat:
        # Of the square of scores, half is made; scores, masked ones, exponentials, weights and sums are kept of it.
        kept += model.layers * (layer + 5 * scores * model.context // 2)
    working = 2 * layer + 3 * scores * min(QUERIES, model.context)
    logits = 3 * min(LOSS_PIECE, tokens * model.vocabulary * FLOAT)
    return (kept + working) // recipe.compute.model_parallel + logits


def _bytes(recipe: Recipe) -> int:
    return FLOAT if recipe.compute.dtype == "float32" else 2
