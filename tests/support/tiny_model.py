"""A whole CodeGen-shaped GGUF of a few hundred kB: random weights, one token a byte, letters and line ends
likeliest."""

from __future__ import annotations

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


def write_tiny_model(path: Path, seed: int = 0, width: int = 64) -> Path:
    """width: numbers of a token's embedding; k-quants take multiples of 256 only."""
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
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    characters = byte_characters()
    writer.add_token_list([*characters, "<|endoftext|>", *(f"[PAD{n}]" for n in range(VOCABULARY - 257))])
    normal, control, unused = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL, gguf.TokenType.UNUSED
    writer.add_token_types([*[normal] * 256, control, *[unused] * (VOCABULARY - 257)])
    writer.add_token_merges([f"{characters[32]} {characters[32]}"])
    writer.add_eos_token_id(END_OF_TEXT)
    writer.add_bos_token_id(END_OF_TEXT)
    writer.add_add_bos_token(False)

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
    writer.add_tensor("output.bias", bias)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
