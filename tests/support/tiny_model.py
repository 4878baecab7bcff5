"""Whole GGUF files of a few hundred kB, with random weights and one token a byte: one of CodeGen's shape that writes
mostly letters and line ends, and one with a recurrent state that writes nothing else."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import gguf
import numpy as np

VOCABULARY = 264  # 256 bytes, <|endoftext|>, and padding
END_OF_TEXT = 256
_LAYERS, _HEADS, _ROTARY, _WINDOW = 2, 2, 16, 2048


def byte_characters() -> list[str]:
    """The printable character that GPT-2's vocabulary writes for each byte. Source: openai/gpt-2 src/encoder.py."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in own]
    table = {byte: chr(byte) for byte in own} | {byte: chr(256 + place) for place, byte in enumerate(rest)}
    return [table[byte] for byte in range(256)]


def write_tiny_model(
    path: Path,
    seed: int = 0,
    width: int = 64,
    *,
    special: Mapping[str, gguf.TokenType] | None = None,
    named: Mapping[str, int] | None = None,
) -> Path:
    """width: numbers of a token's embedding; k-quants take multiples of 256 only. special: tokens from id 257 on, of
    which the model writes the last; named: metadata `tokenizer.ggml.*_token_id`."""
    special = special or {}
    draw = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(str(path), "phi2")
    writer.add_name("tiny")
    writer.add_context_length(_WINDOW)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(4 * width)
    writer.add_block_count(_LAYERS)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_eps(1e-5)
    writer.add_rope_dimension_count(_ROTARY)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    _add_vocabulary(writer, written=range(257), special=special)
    for name, token in (named or {}).items():
        writer.add_uint32(f"tokenizer.ggml.{name}_token_id", token)

    def matrix(name: str, rows: int, columns: int) -> None:
        writer.add_tensor(name, draw.normal(0, 0.3, (rows, columns)).astype(np.float16))

    def vector(name: str, size: int, value: float = 0.0) -> None:
        writer.add_tensor(name, np.full(size, value, np.float32))

    matrix("token_embd.weight", VOCABULARY, width)
    for layer in range(_LAYERS):
        block = f"blk.{layer}"
        vector(f"{block}.attn_norm.weight", width, 1.0)
        vector(f"{block}.attn_norm.bias", width)
        matrix(f"{block}.attn_qkv.weight", 3 * width, width)
        matrix(f"{block}.attn_output.weight", width, width)
        vector(f"{block}.attn_output.bias", width)
        matrix(f"{block}.ffn_up.weight", 4 * width, width)
        vector(f"{block}.ffn_up.bias", 4 * width)
        matrix(f"{block}.ffn_down.weight", width, 4 * width)
        vector(f"{block}.ffn_down.bias", width)
    vector("output_norm.weight", width, 1.0)
    vector("output_norm.bias", width)
    matrix("output.weight", VOCABULARY, width)
    bias = np.zeros(VOCABULARY, np.float32)
    bias[list(b"abcdefghijklmnopqrstuvwxyz =()")] = 12
    bias[10] = 10
    bias[257:] = 30  # padding would always win if it were not banned
    bias[257 : 257 + len(special)] = -30
    if special:
        bias[256 + len(special)] = 8
    writer.add_tensor("output.bias", bias)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_vocabulary(
    writer: gguf.GGUFWriter, written: Collection[int], special: Mapping[str, gguf.TokenType] | None = None
) -> None:
    """written: ids that may be drawn."""
    special = special or {}
    padding = range(VOCABULARY - 257 - len(special))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    characters = byte_characters()
    writer.add_token_list([*characters, "<|endoftext|>", *special, *(f"[PAD{n}]" for n in padding)])
    normal, control, unused = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL, gguf.TokenType.UNUSED
    kinds = [normal if byte in written else unused for byte in range(256)]
    kinds.append(control if END_OF_TEXT in written else unused)
    writer.add_token_types([*kinds, *special.values(), *[unused] * len(padding)])
    merged = characters[0 if special else 32]  # llama.cpp drops what merges into no token, so two spaces are lost
    writer.add_token_merges([f"{merged} {merged}"])
    writer.add_eos_token_id(END_OF_TEXT)
    writer.add_bos_token_id(END_OF_TEXT)
    writer.add_add_bos_token(False)


def write_tiny_recurrent_model(path: Path, width: int = 64) -> Path:
    """A Mamba (Gu and Dao, 2023)."""
    draw = np.random.default_rng(0)
    writer = gguf.GGUFWriter(str(path), "mamba")
    writer.add_name("tiny")
    writer.add_context_length(_WINDOW)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(_LAYERS)
    inner, state, window, rank = 2 * width, 8, 4, 4
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_conv_kernel(window)
    writer.add_ssm_time_step_rank(rank)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    _add_vocabulary(writer, written=frozenset(b"abcdefghijklmnopqrstuvwxyz\n"))

    def random(name: str, *shape: int, kind: type[np.floating] = np.float16) -> None:
        writer.add_tensor(name, draw.normal(0, 0.3, shape).astype(kind))

    def constant(name: str, *shape: int, value: float = 0.0) -> None:
        writer.add_tensor(name, np.full(shape, value, np.float32))

    random("token_embd.weight", VOCABULARY, width)
    for layer in range(_LAYERS):
        block = f"blk.{layer}"
        constant(f"{block}.attn_norm.weight", width, value=1.0)
        random(f"{block}.ssm_in.weight", 2 * inner, width)
        random(f"{block}.ssm_conv1d.weight", inner, window, kind=np.float32)
        constant(f"{block}.ssm_conv1d.bias", inner)
        random(f"{block}.ssm_x.weight", rank + 2 * state, inner)
        random(f"{block}.ssm_dt.weight", inner, rank, kind=np.float32)
        constant(f"{block}.ssm_dt.bias", inner)
        constant(f"{block}.ssm_a", inner, state, value=-1.0)
        constant(f"{block}.ssm_d", inner, value=1.0)
        random(f"{block}.ssm_out.weight", width, inner)
    constant("output_norm.weight", width, value=1.0)
    random("output.weight", VOCABULARY, width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
