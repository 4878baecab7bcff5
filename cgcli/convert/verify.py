"""Holds a converted model to its checkpoint: llama.cpp's run of the GGUF against NumPy's run of the source.

Each layer is checked alone. llama.cpp hands out what every layer puts out (`l_out-<i>`); NumPy computes layer i from
llama.cpp's own output of layer i-1, so errors do not pile up, a mismatch names its layer, and any subset of layers is a
real check. It knows nothing of how the file was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.convert.checkpoint import Checkpoint
from cgcli.convert.config import CodeGenConfig, Shape
from cgcli.core.errors import Interrupted, ModelFileError
from cgcli.core.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

# What llama.cpp's arithmetic (f16 weights, f16 activations inside a product, f16 cache) may differ from float32's, as a
# fraction of what the layer adds to a token's hidden state, or of the token's logits. Measured: 0.0006 at most. With
# two of q, k and v exchanged or the rotary order wrong a layer differs by 0.06 (freshly initialised) to 1.3.
LAYER_TOLERANCE = 0.02
LOGITS_TOLERANCE = 0.02

# Nats a token of PROMPT. A trained model has 1 to 4, one whose qkv rows were dealt out wrongly 8 and more. NumPy and
# llama.cpp agree about it: a wrong mp_num is no mismatch, it only shows here.
SUSPICIOUS_LOSS = 6.0

# A model of up to 3 billion weights in its layers is checked whole, some 20 s on two cores; of a larger one as many
# layers as that allows, evenly spaced, the first and the last among them.
MAX_CHECKED_WEIGHTS = 3_000_000_000
MAX_PROMPT_TOKENS = 128

PROMPT = b'''# Import libraries.

import numpy as np

# Read the numbers in a file, one a line, and print their mean and their median.
def read_numbers(path):
    """Return the numbers in the file as a list."""
    numbers = []
    with open(path) as lines:
        for line in lines:
            if line.strip():
                numbers.append(float(line))
    return numbers


numbers = read_numbers("numbers.txt")
print(sum(numbers) / len(numbers), sorted(numbers)[len(numbers) // 2])
'''


@dataclass(frozen=True)
class Verification:
    """What the check of an f16 GGUF found. Errors are fractions, see the tolerances; differences are of logits.

    loss: of the prompt, in nats a token, see SUSPICIOUS_LOSS.
    """

    prompt_tokens: int
    layers: int
    layers_checked: int
    worst_layer: int
    worst_layer_error: float
    logits_error: float
    largest_logit_difference: float
    argmax_agreement: float
    loss: float


def verify(
    path: Path, checkpoint: Checkpoint, config: CodeGenConfig, progress: Progress, *, threads: int
) -> tuple[Verification, Floats]:
    """Check the f16 GGUF at `path` against its checkpoint; also its logits [T, n_vocab] on the prompt.

    Raises ModelFileError, naming the layer, for one that differs by more than LAYER_TOLERANCE.
    """
    import numpy as np

    from cgcli.convert.reference import Reference, log_softmax

    shape = config.shape
    layers = layers_to_check(shape)
    last = shape.layers - 1
    wanted = {*layers, *(layer - 1 for layer in layers if layer), last}
    tokens, logits, outputs = run(path, threads=threads, capture=wanted)
    for layer in wanted:
        if outputs.get(layer, logits[:0]).shape != (len(tokens), shape.width):
            raise ModelFileError(f"{path}: llama.cpp gave no whole output of layer {layer}")
    reference = Reference(checkpoint, config)
    errors: dict[int, float] = {}
    with progress.task("checking against the checkpoint", len(layers) + 1, unit="steps") as task:
        for layer in layers:
            before = outputs[layer - 1] if layer else reference.embed(tokens)
            expected = reference.layer(layer, before)
            errors[layer] = relative_error(outputs[layer], expected, expected - before)
            if not errors[layer] <= LAYER_TOLERANCE:
                raise _mismatch(checkpoint, f"layer {layer} of {shape.layers}", errors[layer], LAYER_TOLERANCE)
            task.advance(1)
        expected = reference.logits(outputs[last])
        error = relative_error(logits, expected, expected)
        if not error <= LOGITS_TOLERANCE:
            raise _mismatch(checkpoint, "the output layer", error, LOGITS_TOLERANCE)
        task.advance(1)
    worst = max(errors, key=lambda layer: errors[layer])
    losses = -log_softmax(logits[:-1])[np.arange(len(tokens) - 1), tokens[1:]]
    found = Verification(
        prompt_tokens=len(tokens),
        layers=shape.layers,
        layers_checked=len(layers),
        worst_layer=worst,
        worst_layer_error=errors[worst],
        logits_error=error,
        largest_logit_difference=float(np.abs(logits - expected).max()),
        argmax_agreement=float((logits.argmax(axis=-1) == expected.argmax(axis=-1)).mean()),
        loss=float(losses.mean()),
    )
    return found, logits


def kl_divergence(path: Path, logits: Floats, *, threads: int) -> float:
    """Mean Kullback-Leibler divergence, in nats, of the GGUF at `path` from the model that gave `logits` [T, n_vocab].

    Raises ModelFileError where it is not a number.
    """
    import numpy as np

    from cgcli.convert.reference import log_softmax

    _, quantized, _ = run(path, threads=threads)
    expected, found = log_softmax(logits), log_softmax(quantized)
    mean = float((np.exp(expected) * (expected - found)).sum(axis=-1).mean())
    if not np.isfinite(mean):
        raise ModelFileError(f"{path}: the quantized model gives no numbers (its divergence from f16 is {mean})")
    return max(mean, 0.0)


def layers_to_check(shape: Shape) -> list[int]:
    """All layers, or as many as MAX_CHECKED_WEIGHTS allows, evenly spaced from first to last, at least two."""
    weights = shape.width * (4 * shape.width + 2 * shape.inner)
    count = min(shape.layers, max(2, MAX_CHECKED_WEIGHTS // weights))
    return sorted({round(step * (shape.layers - 1) / max(1, count - 1)) for step in range(count)})


def relative_error(found: Floats, expected: Floats, scale: Floats) -> float:
    """The largest, over the rows, of |found - expected| / |scale|, Euclidean norms. NaN where there is one."""
    import numpy as np

    difference = np.linalg.norm(found - expected, axis=-1)
    return float((difference / np.maximum(np.linalg.norm(scale, axis=-1), np.float32(1e-20))).max())


def run(
    path: Path, *, threads: int, capture: Sequence[int] | set[int] = ()
) -> tuple[list[int], Floats, dict[int, Floats]]:
    """Token ids [T] of PROMPT, logits [T, n_vocab] after each, and the outputs [T, width] of the layers to capture."""
    import numpy as np

    from cgcli.engine.context import Context
    from cgcli.engine.model import Model
    from cgcli.native.interrupt import interruptible

    outputs: dict[int, Floats] = {}

    def keep(name: str, values: Floats) -> None:
        outputs[int(name.removeprefix("l_out-"))] = values

    with interruptible() as interrupt, Model.load(path, gpu_layers=0, cancelled=lambda: interrupt.requested) as model:
        tokens = model.tokenize(PROMPT)[: min(MAX_PROMPT_TOKENS, model.n_ctx_train)]
        names = {f"l_out-{layer}" for layer in capture}
        size = len(tokens)
        with Context(
            model,
            n_ctx=size,
            n_batch=size,
            threads=threads,
            abort=interrupt.callback_address,
            capture=keep if names else None,
            capture_names=names,
        ) as context:
            if not context.decode(tokens, outputs=range(len(tokens))):
                raise Interrupted
            logits = np.stack([context.logits(index) for index in range(len(tokens))])
    return tokens, logits, outputs


def _mismatch(checkpoint: Checkpoint, where: str, error: float, tolerance: float) -> ModelFileError:
    return ModelFileError(
        f"{checkpoint.folder}: {where} of the converted model differs from the checkpoint by {error:.2g} of its size "
        f"(tolerance {tolerance:g}); nothing was stored",
        hint="please report it, with the checkpoint's name",
    )
