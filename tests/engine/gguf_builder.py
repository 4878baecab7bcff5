"""Builds GGUF files byte by byte, so that tests can change one thing: a tiny `phi2` and a tiny `llama` that run."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

from cgcli.engine.ggml_types import TENSOR_TYPES

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
FORMATS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q", I64: "q", F64: "d"}

N_VOCAB, WIDTH, HIDDEN, HEADS, LAYERS = 272, 64, 96, 4, 2


@dataclass
class Array:
    """An array value: its element type, its elements, and a length that may lie."""

    kind: int
    values: list[Any]
    count: int | None = None


@dataclass
class Tensor:
    """A tensor's entry; `data` None stands for zeros, of the size that shape and type make."""

    shape: list[int]
    kind: int = 0
    offset: int | None = None
    data: bytes | None = None


@dataclass
class File:
    """A GGUF to be. Repeated entries are possible: keys and tensors are lists."""

    keys: list[tuple[str | bytes, int, Any]]
    tensors: list[tuple[str | bytes, Tensor]]
    magic: bytes = b"GGUF"
    version: int = 3
    n_keys: int | None = None
    n_tensors: int | None = None
    alignment: int = 32

    def set(self, key: str, kind: int, value: Any) -> File:
        """Replace or add a key."""
        names = [name for name, _, _ in self.keys]
        entry = (key, kind, value)
        if key in names:
            self.keys[names.index(key)] = entry
        else:
            self.keys.append(entry)
        return self

    def drop(self, key: str) -> File:
        self.keys = [entry for entry in self.keys if entry[0] != key]
        return self

    def tensor(self, name: str) -> Tensor:
        return dict(self.tensors)[name]

    def drop_tensor(self, name: str) -> File:
        self.tensors = [entry for entry in self.tensors if entry[0] != name]
        return self

    def header(self) -> bytes:
        out = bytearray(self.magic + struct.pack("<I", self.version))
        out += struct.pack("<QQ", _or(self.n_tensors, len(self.tensors)), _or(self.n_keys, len(self.keys)))
        for key, kind, value in self.keys:
            out += string(key) + struct.pack("<I", kind) + encode(kind, value)
        offset = 0
        for name, tensor in self.tensors:
            out += string(name) + struct.pack("<I", len(tensor.shape))
            out += b"".join(struct.pack("<Q", n) for n in tensor.shape)
            out += struct.pack("<IQ", tensor.kind, _or(tensor.offset, offset))
            offset += -(-size_of(tensor) // self.alignment) * self.alignment
        return bytes(out)

    def encode(self) -> bytes:
        header = self.header()
        out = bytearray(header + bytes(-len(header) % self.alignment))
        for _, tensor in self.tensors:
            data = bytes(size_of(tensor)) if tensor.data is None else tensor.data
            out += data + bytes(-len(data) % self.alignment)
        return bytes(out)


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def size_of(tensor: Tensor) -> int:
    if tensor.data is not None:
        return len(tensor.data)
    if tensor.kind not in TENSOR_TYPES:
        return 4 * math.prod(tensor.shape)
    _, block, block_bytes = TENSOR_TYPES[tensor.kind]
    return math.prod(tensor.shape) // block * block_bytes


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def encode(kind: int, value: Any) -> bytes:
    if isinstance(value, bytes):  # as it is
        return value
    if kind == STRING:
        return string(value)
    if isinstance(value, Array):
        elements = b"".join(encode(value.kind, element) for element in value.values)
        return struct.pack("<IQ", value.kind, _or(value.count, len(value.values))) + elements
    return struct.pack(f"<{FORMATS[kind]}", value)


def byte_texts() -> list[str]:
    """The 256 tokens of byte-level BPE, and a few more."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    texts = [chr(byte) for byte in printable] + [chr(256 + n) for n in range(256 - len(printable))]
    return [*texts, "<|endoftext|>", *(f"[PAD{n}]" for n in range(N_VOCAB - 257))]


def tiny(architecture: str) -> File:
    """A whole `phi2` or `llama` of random weights, some 300 kB."""
    rms = "rms_" if architecture == "llama" else ""
    keys: list[tuple[str | bytes, int, Any]] = [
        ("general.architecture", STRING, architecture),
        ("general.file_type", U32, 0),
        (f"{architecture}.context_length", U32, 128),
        (f"{architecture}.embedding_length", U32, WIDTH),
        (f"{architecture}.feed_forward_length", U32, HIDDEN),
        (f"{architecture}.block_count", U32, LAYERS),
        (f"{architecture}.attention.head_count", U32, HEADS),
        (f"{architecture}.attention.head_count_kv", U32, 2),
        (f"{architecture}.attention.layer_norm_{rms}epsilon", F32, 1e-5),
        (f"{architecture}.rope.dimension_count", U32, 16 if rms else 8),
        (f"{architecture}.rope.freq_base", F32, 10000.0),
        ("tokenizer.ggml.model", STRING, "gpt2"),
        ("tokenizer.ggml.pre", STRING, "gpt-2"),
        ("tokenizer.ggml.tokens", ARRAY, Array(STRING, byte_texts())),
        ("tokenizer.ggml.token_type", ARRAY, Array(I32, [1] * 256 + [3] + [5] * (N_VOCAB - 257))),
        ("tokenizer.ggml.merges", ARRAY, Array(STRING, ["t h", "i n"])),
        ("tokenizer.ggml.eos_token_id", U32, 256),
        ("tokenizer.ggml.bos_token_id", U32, 256),
    ]
    kv = WIDTH // HEADS * 2
    shapes = {"token_embd.weight": [WIDTH, N_VOCAB], "output_norm.weight": [WIDTH], "output.weight": [WIDTH, N_VOCAB]}
    layer = {"attn_norm.weight": [WIDTH], "attn_output.weight": [WIDTH, WIDTH]}
    feed = {"ffn_up.weight": [WIDTH, HIDDEN], "ffn_down.weight": [HIDDEN, WIDTH]}
    if rms:
        layer |= feed | {"ffn_norm.weight": [WIDTH], "ffn_gate.weight": [WIDTH, HIDDEN]}
        layer |= {"attn_q.weight": [WIDTH, WIDTH], "attn_k.weight": [WIDTH, kv], "attn_v.weight": [WIDTH, kv]}
    else:
        shapes |= {"output_norm.bias": [WIDTH], "output.bias": [N_VOCAB]}
        layer |= feed | {"attn_norm.bias": [WIDTH], "attn_qkv.weight": [WIDTH, WIDTH + 2 * kv]}
        layer |= {"attn_output.bias": [WIDTH], "ffn_up.bias": [HIDDEN], "ffn_down.bias": [WIDTH]}
    for index in range(LAYERS):
        shapes |= {f"blk.{index}.{name}": shape for name, shape in layer.items()}
    tensors: list[tuple[str | bytes, Tensor]] = []
    for name, shape in shapes.items():
        weights = [math.sin(n * 12.9898 + len(tensors)) * 0.2 for n in range(math.prod(shape))]
        tensors.append((name, Tensor(shape, data=struct.pack(f"<{len(weights)}f", *weights))))
    return File(keys, tensors)
