"""Maps the tensors of a CodeGen checkpoint to those of llama.cpp's `phi2` architecture, which has the same block.

One table lists the source of each GGUF tensor. Two rearrangements are behind it: of the fused rows of qkv_proj, and of
the rotary dimensions. Knows no file format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cgcli.convert.checkpoint import Checkpoint
from cgcli.convert.config import CodeGenConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Weights = NDArray[np.float16 | np.float32]


@dataclass(frozen=True)
class TargetTensor:
    """One tensor of the GGUF."""

    name: str
    shape: tuple[int, ...]  # in C order
    make: Callable[[], Weights]  # computes the values: vectors f32, matrices f16

    @property
    def size_bytes(self) -> int:
        return 4 * self.shape[0] if len(self.shape) == 1 else 2 * self.shape[0] * self.shape[1]


def qkv_rows(config: CodeGenConfig) -> NDArray[np.intp]:
    """The row of CodeGen's qkv_proj that holds each row of q; k; v: [3, width].

    qkv_proj's rows are mp_num groups of [q | v | k], each width / mp_num rows, a whole number of heads
    (transformers modeling_codegen.py, CodeGenAttention.forward: mp_num, `torch.split` into query, value, key).
    """
    import numpy as np

    rows = np.arange(3 * config.shape.width).reshape(config.mp_num, 3, config.shape.width // config.mp_num)
    q, v, k = (rows[:, part].reshape(-1) for part in range(3))
    return np.stack([q, k, v])


def half_split(config: CodeGenConfig) -> NDArray[np.intp]:
    """The order of a layer's q (or k) rows for llama.cpp's rotary embedding: [width].

    CodeGen rotates neighbors (0,1)(2,3)… of a head's first `rotary` dimensions (`rotate_every_two`), phi2 the pairs
    (0, r/2)(1, r/2+1)…: so those rows take the order 0,2,4,…,1,3,5,…; the rest of the head stays.
    """
    import numpy as np

    shape = config.shape
    head = np.arange(shape.head)
    rotary = head[: shape.rotary]
    order = np.concatenate([rotary[0::2], rotary[1::2], head[shape.rotary :]])
    return np.asarray((np.arange(shape.heads)[:, None] * shape.head + order).reshape(-1))


def fused_qkv(weights: Weights, config: CodeGenConfig) -> Weights:
    """qkv_proj [3 width, width] as phi2's attn_qkv: rows q; k; v, rotary dimensions half-split."""
    import numpy as np

    rows, order = qkv_rows(config), half_split(config)
    return np.take(weights, np.concatenate([rows[0][order], rows[1][order], rows[2]]), axis=0)


def target_tensors(checkpoint: Checkpoint, config: CodeGenConfig) -> Iterator[TargetTensor]:
    """Every tensor of the GGUF, in the order of the file. Raises ModelFileError if the checkpoint lacks a source."""
    import numpy as np

    width, inner, vocabulary = config.shape.width, config.shape.inner, config.shape.vocabulary

    def copy(name: str, source: str, *shape: int) -> TargetTensor:
        stored = checkpoint.tensor(source, shape)
        dtype = np.float32 if len(shape) == 1 else np.float16
        return TargetTensor(name, shape, lambda: stored.read(dtype))

    def qkv(name: str, source: str) -> TargetTensor:
        stored = checkpoint.tensor(source, (3 * width, width))
        return TargetTensor(name, stored.shape, lambda: fused_qkv(stored.read(np.float16), config))

    yield copy("token_embd.weight", "transformer.wte.weight", vocabulary, width)
    for layer in range(config.shape.layers):
        block, source = f"blk.{layer}.", f"transformer.h.{layer}."
        yield copy(f"{block}attn_norm.weight", f"{source}ln_1.weight", width)
        yield copy(f"{block}attn_norm.bias", f"{source}ln_1.bias", width)
        yield qkv(f"{block}attn_qkv.weight", f"{source}attn.qkv_proj.weight")
        yield copy(f"{block}attn_output.weight", f"{source}attn.out_proj.weight", width, width)
        # CodeGen's attention has no bias; phi2 needs one.
        yield TargetTensor(f"{block}attn_output.bias", (width,), lambda: np.zeros(width, np.float32))
        yield copy(f"{block}ffn_up.weight", f"{source}mlp.fc_in.weight", inner, width)
        yield copy(f"{block}ffn_up.bias", f"{source}mlp.fc_in.bias", inner)
        yield copy(f"{block}ffn_down.weight", f"{source}mlp.fc_out.weight", width, inner)
        yield copy(f"{block}ffn_down.bias", f"{source}mlp.fc_out.bias", width)
    yield copy("output_norm.weight", "transformer.ln_f.weight", width)
    yield copy("output_norm.bias", "transformer.ln_f.bias", width)
    yield copy("output.weight", "lm_head.weight", vocabulary, width)
    yield copy("output.bias", "lm_head.bias", vocabulary)
