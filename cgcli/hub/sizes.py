"""Parameters, bytes on disk and bytes of memory of a model, computed from its shape.

The catalog stores none of these numbers, so it cannot contradict them.

    memory = weights at the quant's bits + f16 key-value cache of the context + compute buffer

The bits are those that llama.cpp uses for each kind of matrix (llama-quant.cpp, `llama_tensor_get_type`).
"""

from __future__ import annotations

from typing import NamedTuple

from cgcli.convert.config import Shape

DEFAULT_QUANT = "q4_k_m"
BATCH = 512
"""Rows of a pass for which llama.cpp reserves its compute buffer."""

# Bits per weight, with scales.
_F16, _Q8_0, _Q6_K, _Q5_K, _Q4_K, _Q4_0 = 16.0, 8.5, 6.5625, 5.5, 4.5, 4.5


class _Bits(NamedTuple):
    """Bits per weight for each kind of matrix."""

    base: float
    output: float
    qkv: float
    down_more: float  # feed-forward output of the layers that get more bits


_BITS = {
    "f16": _Bits(_F16, _F16, _F16, _F16),
    "q8_0": _Bits(_Q8_0, _Q8_0, _Q8_0, _Q8_0),
    "q6_k": _Bits(_Q6_K, _Q6_K, _Q6_K, _Q6_K),
    "q5_k_m": _Bits(_Q5_K, _Q6_K, _Q6_K, _Q6_K),
    "q4_k_m": _Bits(_Q4_K, _Q6_K, _Q5_K, _Q6_K),
    "q4_0": _Bits(_Q4_0, _Q6_K, _Q4_0, _Q4_0),
}
QUANTS: tuple[str, ...] = tuple(_BITS)
"""The available quantizations, by increasing loss."""


def parameters(shape: Shape) -> int:
    """The number of weights and biases."""
    embeddings = shape.vocabulary * shape.width * (1 if shape.tied else 2)
    return embeddings + shape.layers * (_qkv(shape) + shape.width**2 + _up(shape) + _down(shape)) + _vectors(shape)


def weight_bytes(shape: Shape, quant: str) -> int:
    """Bytes of a GGUF's tensors in this quantization; vectors stay f32. Its vocabulary adds 1 to 3 MB."""
    bits = _BITS[quant]
    more = sum(_more_bits(layer, shape.layers) for layer in range(shape.layers))
    embedding = shape.vocabulary * shape.width
    total = embedding * bits.output if shape.tied else embedding * (bits.base + bits.output)
    total += shape.layers * (_qkv(shape) * bits.qkv + (shape.width**2 + _up(shape)) * bits.base)
    total += _down(shape) * (more * bits.down_more + (shape.layers - more) * bits.base)
    return round(total / 8) + 4 * _vectors(shape)


def cache_bytes(shape: Shape, context: int) -> int:
    """Bytes of the key-value cache, f16."""
    return 2 * 2 * shape.layers * context * shape.key_value_width


def compute_bytes(shape: Shape, context: int) -> int:
    """Bytes of the compute buffer for `BATCH` rows: logits, widest activations and attention scores, in f32."""
    return 4 * BATCH * (shape.vocabulary + 2 * shape.inner + 4 * shape.width + context)


def memory_needed(shape: Shape, quant: str, context: int | None = None) -> int:
    """Bytes of memory to run the model with a context of that many tokens; None: its full window."""
    context = context or shape.context
    return weight_bytes(shape, quant) + cache_bytes(shape, context) + compute_bytes(shape, context)


def _qkv(shape: Shape) -> int:
    return shape.width * (shape.width + 2 * shape.key_value_width)


def _up(shape: Shape) -> int:
    return shape.width * shape.inner * (2 if shape.gated else 1)


def _down(shape: Shape) -> int:
    return shape.width * shape.inner


def _vectors(shape: Shape) -> int:
    """Norms and biases: one LayerNorm and MLP biases per block of CodeGen, two RMS norms per block of Llama."""
    if shape.gated:
        return shape.width * (2 * shape.layers + 1)
    return shape.layers * (3 * shape.width + shape.inner) + 2 * shape.width + shape.vocabulary


def _more_bits(layer: int, layers: int) -> bool:
    """`use_more_bits` of llama-quant.cpp: the first and last eighth of the layers, and every third in between."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2
