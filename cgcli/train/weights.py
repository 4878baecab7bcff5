"""Loads and saves weights as a CodeGen checkpoint in the Hub's layout.

The layout is config.json, model.safetensors (pytorch_model.bin can be read, too) and the tokenizer's files, as `cgcli
convert` and transformers read them. In these files the rows of qkv are in mp_num groups, each [q | v | k], and matrices
are [out, in].
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from cgcli.convert.checkpoint import open_checkpoint
from cgcli.convert.config import CodeGenConfig, Shape, read_config
from cgcli.convert.mapping import qkv_rows
from cgcli.convert.vocabulary import END_OF_TEXT
from cgcli.core.errors import ModelFileError
from cgcli.core.files import disk_error, replacing, write_atomic
from cgcli.core.model_files import read_object
from cgcli.train.model import Params

Floats = NDArray[np.float32]

# Arrays of a layer: our name, the Hub's (after "transformer.h.<i>."), and "T" if transposed.
LAYER = {
    "ln_scale": ("ln_1.weight", ""),
    "ln_bias": ("ln_1.bias", ""),
    "qkv": ("attn.qkv_proj.weight", "qkv"),
    "out": ("attn.out_proj.weight", "T"),
    "fc_in": ("mlp.fc_in.weight", "T"),
    "fc_in_bias": ("mlp.fc_in.bias", ""),
    "fc_out": ("mlp.fc_out.weight", "T"),
    "fc_out_bias": ("mlp.fc_out.bias", ""),
}
WHOLE = {
    "wte": ("transformer.wte.weight", ""),
    "ln_f_scale": ("transformer.ln_f.weight", ""),
    "ln_f_bias": ("transformer.ln_f.bias", ""),
    "head": ("lm_head.weight", "T"),
    "head_bias": ("lm_head.bias", ""),
}
TOKENIZER_FILES = (
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
DTYPES = {"float16": np.float16, "float32": np.float32}


def load_weights(folder: Path) -> tuple[CodeGenConfig, Params]:
    """Configuration and float32 weights of the checkpoint in `folder`. Raises ModelFileError if it is not one."""
    config = read_config(folder)
    checkpoint = open_checkpoint(folder, tied=config.tied)

    def read(name: str, shape: tuple[int, ...], kind: str) -> Floats:
        stored = checkpoint.tensor(name, shape[::-1] if kind == "T" else shape)
        values = np.asarray(stored.read(np.float32), np.float32)
        if kind == "qkv":
            # [3, E rows, E in] to [E in, 3, E rows]
            return values[qkv_rows(config)].transpose(2, 0, 1)
        return values.T if kind == "T" else values

    shapes = _shapes(config.shape)
    blocks = {
        key: jnp.asarray(
            np.stack([read(f"transformer.h.{i}.{name}", shapes[key], kind) for i in range(config.shape.layers)])
        )
        for key, (name, kind) in LAYER.items()
    }
    whole = {key: jnp.asarray(read(name, shapes[key], kind)) for key, (name, kind) in WHOLE.items()}
    return config, {**whole, "blocks": blocks}


def save_weights(folder: Path, config: CodeGenConfig, params: Params, tokenizer: Path, dtype: str = "float16") -> None:
    """Write a checkpoint to `folder`, with the tokenizer's files from the folder `tokenizer`.

    dtype: "float16" or "float32". Raises ModelFileError if a weight is not finite in that type or `tokenizer` has no
    tokenizer, CgcliError if the disk fails.
    """
    from safetensors.numpy import save_file

    end_of_text = _end_of_text(tokenizer)
    weights = {name: _exact(name, values, dtype) for name, values in _named(config, params)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in TOKENIZER_FILES:
            if (tokenizer / file).is_file() and tokenizer.resolve() != folder.resolve():
                shutil.copy(tokenizer / file, folder / file)
        with replacing(folder / "model.safetensors") as beside:
            save_file(weights, beside, metadata={"format": "pt"})
    except OSError as error:
        raise disk_error(folder, error) from error
    described = _described(config, end_of_text, dtype)
    write_atomic(folder / "config.json", (json.dumps(described, indent=1, sort_keys=True) + "\n").encode())


def _named(config: CodeGenConfig, params: Params) -> Any:
    """Yield name and float32 values of every weight in the Hub's layout."""

    def published(values: Floats, kind: str) -> Floats:
        if kind == "qkv":
            rows = np.empty((3 * config.shape.width, config.shape.width), np.float32)
            rows[qkv_rows(config)] = values.transpose(1, 2, 0)
            return rows
        return np.ascontiguousarray(values.T) if kind == "T" else values

    for key, (name, kind) in WHOLE.items():
        yield name, published(np.asarray(params[key]), kind)
    for key, (name, kind) in LAYER.items():
        for index, values in enumerate(np.asarray(params["blocks"][key])):
            yield f"transformer.h.{index}.{name}", published(values, kind)


def _exact(name: str, values: Floats, dtype: str) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(values, DTYPES[dtype])
    if not np.isfinite(stored).all():
        raise ModelFileError(
            f"{name} has a value that is not finite as {dtype}", hint="continue from an earlier checkpoint"
        )
    return stored


def _shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Shapes of our arrays; qkv as in the Hub's layout."""
    width, inner, vocabulary = shape.width, shape.inner, shape.vocabulary
    return {
        "ln_scale": (width,),
        "ln_bias": (width,),
        "qkv": (3 * width, width),
        "out": (width, width),
        "fc_in": (width, inner),
        "fc_in_bias": (inner,),
        "fc_out": (inner, width),
        "fc_out_bias": (width,),
        "wte": (vocabulary, width),
        "ln_f_scale": (width,),
        "ln_f_bias": (width,),
        "head": (width, vocabulary),
        "head_bias": (vocabulary,),
    }


def _end_of_text(tokenizer: Path) -> int:
    """The id of <|endoftext|>."""
    for name in ("vocab.json", "added_tokens.json"):
        if (tokenizer / name).is_file():
            found = read_object(tokenizer / name).get(END_OF_TEXT)
            if type(found) is int:
                return found
    raise ModelFileError(f"{tokenizer} has no vocab.json with {END_OF_TEXT}")


def _described(config: CodeGenConfig, end_of_text: int, dtype: str) -> dict[str, Any]:
    """The content of config.json, as transformers' CodeGenConfig has it."""
    shape = config.shape
    return {
        "architectures": ["CodeGenForCausalLM"],
        "model_type": "codegen",
        **({"_name_or_path": config.name} if config.name else {}),
        "activation_function": "gelu_new",
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "initializer_range": 0.02,
        "layer_norm_epsilon": config.epsilon,
        "n_ctx": shape.context,
        "n_positions": shape.context,
        "n_embd": shape.width,
        "n_head": shape.heads,
        "n_inner": shape.feed_forward,
        "n_layer": shape.layers,
        "rotary_dim": shape.rotary,
        "scale_attn_weights": True,
        "tie_word_embeddings": False,
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "tokenizer_class": "CodeGenTokenizer",
        "torch_dtype": dtype,
        "use_cache": True,
        "vocab_size": shape.vocabulary,
    }
