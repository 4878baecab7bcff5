"""CodeGen's forward pass in NumPy, float32, straight from the checkpoint: the reference for a conversion.

It shares no code with `mapping`, so that a mistake there cannot repeat itself here. Weights are read layer by layer and
a few rows at a time; a single layer can be run on given hidden states. After transformers' modeling_codegen.py
(CodeGenAttention, CodeGenBlock, CodeGenForCausalLM). T is the number of tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgcli.convert.checkpoint import Checkpoint
from cgcli.convert.config import CodeGenConfig, Shape

Floats = NDArray[np.float32]

ROTARY_BASE = 10_000.0
CHUNK_ELEMENTS = 8 << 20  # of a matrix that are held as float32 at a time: 32 MB


@dataclass(frozen=True)
class Reference:
    """The model of a checkpoint. Every method raises ModelFileError for a missing or malformed weight."""

    checkpoint: Checkpoint
    config: CodeGenConfig

    @property
    def shape(self) -> Shape:
        return self.config.shape

    def embed(self, tokens: Sequence[int]) -> Floats:
        """Hidden states [T, width] before the first layer."""
        table = self.checkpoint.tensor("transformer.wte.weight", (self.shape.vocabulary, self.shape.width))
        return np.concatenate([table.rows(token, token + 1).read(np.float32) for token in tokens])

    def layer(self, index: int, hidden: Floats) -> Floats:
        """Hidden states [T, width] after layer `index`, given those before it; the first row is position 0."""
        name = f"transformer.h.{index}"
        normed = self.norm(f"{name}.ln_1", hidden)
        return hidden + self.attention(f"{name}.attn", normed) + self.feed_forward(f"{name}.mlp", normed)

    def logits(self, hidden: Floats) -> Floats:
        """Logits [T, n_vocab] from the hidden states after the last layer."""
        normed = self.norm("transformer.ln_f", hidden)
        return self.linear("lm_head.weight", normed, self.shape.vocabulary) + self.vector(
            "lm_head.bias", self.shape.vocabulary
        )

    def forward(self, tokens: Sequence[int]) -> Floats:
        """Logits [T, n_vocab] after each token."""
        hidden = self.embed(tokens)
        for index in range(self.shape.layers):
            hidden = self.layer(index, hidden)
        return self.logits(hidden)

    def attention(self, name: str, normed: Floats) -> Floats:
        shape, mp_num, length = self.shape, self.config.mp_num, len(normed)
        fused = self.linear(f"{name}.qkv_proj.weight", normed, 3 * shape.width)
        groups = fused.reshape(length, mp_num, 3, shape.width // mp_num)
        # Within a group the order is query, value, key.
        query, value, key = (groups[:, :, part].reshape(length, shape.heads, shape.head) for part in range(3))
        query, key = rotate(query, shape.rotary), rotate(key, shape.rotary)
        scores = np.einsum("qhd,khd->hqk", query, key) / np.float32(math.sqrt(shape.head))
        scores = np.where(np.tri(length, dtype=np.bool_), scores, np.float32(-np.inf))
        mixed = np.einsum("hqk,khd->qhd", softmax(scores), value).reshape(length, shape.width)
        return self.linear(f"{name}.out_proj.weight", mixed, shape.width)

    def feed_forward(self, name: str, normed: Floats) -> Floats:
        width, inner = self.shape.width, self.shape.inner
        up = self.linear(f"{name}.fc_in.weight", normed, inner) + self.vector(f"{name}.fc_in.bias", inner)
        return self.linear(f"{name}.fc_out.weight", gelu(up), width) + self.vector(f"{name}.fc_out.bias", width)

    def norm(self, name: str, hidden: Floats) -> Floats:
        """Layer normalization over the last axis."""
        width = self.shape.width
        centered = hidden - hidden.mean(axis=-1, keepdims=True)
        variance = (centered * centered).mean(axis=-1, keepdims=True)
        scaled = centered / np.sqrt(variance + np.float32(self.config.epsilon))
        return np.asarray(scaled * self.vector(f"{name}.weight", width) + self.vector(f"{name}.bias", width))

    def vector(self, name: str, size: int) -> Floats:
        return np.asarray(self.checkpoint.tensor(name, (size,)).read(np.float32), np.float32)

    def linear(self, name: str, rows: Floats, n_out: int) -> Floats:
        """rows [T, n_in] times the transpose of the weight [n_out, n_in]: [T, n_out]."""
        n_in = rows.shape[1]
        weight = self.checkpoint.tensor(name, (n_out, n_in))
        result = np.empty((len(rows), n_out), np.float32)
        step = max(1, CHUNK_ELEMENTS // n_in)
        for first in range(0, n_out, step):
            last = min(first + step, n_out)
            np.matmul(rows, weight.rows(first, last).read(np.float32).T, out=result[:, first:last])
        return result


def rotate(heads: Floats, rotary: int) -> Floats:
    """Rotary position embedding of [T, heads, head], neighbors (0,1)(2,3)… of the first `rotary` dimensions."""
    frequencies = ROTARY_BASE ** (-np.arange(0, rotary, 2, dtype=np.float64) / rotary)
    angles = np.arange(len(heads))[:, None] * frequencies
    sine, cosine = (part(angles).astype(np.float32)[:, None, :] for part in (np.sin, np.cos))
    even, odd = heads[..., :rotary:2], heads[..., 1:rotary:2]
    turned = heads.copy()
    turned[..., :rotary:2] = even * cosine - odd * sine
    turned[..., 1:rotary:2] = odd * cosine + even * sine
    return turned


def gelu(values: Floats) -> Floats:
    """GELU by tanh, `gelu_new` of transformers."""
    inner = np.float32(math.sqrt(2 / math.pi)) * (values + np.float32(0.044715) * values * values * values)
    return np.asarray(np.float32(0.5) * values * (1 + np.tanh(inner)))


def softmax(scores: Floats) -> Floats:
    """Over the last axis."""
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), np.float32)


def log_softmax(logits: Floats) -> NDArray[np.float64]:
    """Over the last axis, in float64: sums over a vocabulary of 51,200 stay exact to 1e-12."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
