"""Which files of a repository make up a CodeGen checkpoint, and what its config.json says about its size.

The weights are not looked at: that is `cgcli.convert`'s work.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from cgcli.core.errors import ModelFileError
from cgcli.hub.sizes import Shape

CONFIG = "config.json"
_SIZES = ("n_layer", "n_embd", "n_head", "vocab_size", "n_positions")
_NEEDED = (CONFIG, "vocab.json", "merges.txt")
_WELCOME = ("added_tokens.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
# What the weights may be called, the preferred form first: whole file, index, shards.
_FORMS = (
    ("model.safetensors", "model.safetensors.index.json", re.compile(r"model-\d{5}-of-(\d{5})\.safetensors")),
    ("pytorch_model.bin", "pytorch_model.bin.index.json", re.compile(r"pytorch_model-\d{5}-of-(\d{5})\.bin")),
)


def checkpoint_files(source: str, files: Sequence[str]) -> list[str]:
    """The files to fetch: safetensors where the repository has them, else pickles; whole or sharded; the tokenizer's.

    Raises ModelFileError, naming what is missing.
    """
    missing = [name for name in _NEEDED if name not in files]
    if missing:
        raise ModelFileError(f"{source} is no CodeGen checkpoint: it has no {', no '.join(missing)}", hint=_hint(files))
    small = [name for name in (*_NEEDED, *_WELCOME) if name in files]
    for whole, index, shard in _FORMS:
        if whole in files:
            return [*small, whole]
        shards = [(name, match) for name in files if (match := shard.fullmatch(name))]
        if index in files and shards and all(int(match[1]) == len(shards) for _, match in shards):
            return [*small, index, *sorted(name for name, _ in shards)]
    raise ModelFileError(f"{source} has no whole model.safetensors or pytorch_model.bin", hint=_hint(files))


def config_shape(source: str, config: bytes) -> Shape:
    """The shape that a config.json describes. Raises ModelFileError if it is not CodeGen's."""
    try:
        fields = json.loads(config)
        kind = fields["model_type"]
        if kind != "codegen":
            raise ModelFileError(f"{source} is a {kind!s:.40} checkpoint, not CodeGen")
        layers, width, heads, vocabulary, context = (_size(fields[key]) for key in _SIZES)
        inner = fields.get("n_inner")
        feed_forward = None if inner is None else _size(inner)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(f"{source}: config.json is not a CodeGen checkpoint's: {error}") from error
    return Shape(layers, width, heads, vocabulary, context, feed_forward=feed_forward)


def _size(value: object) -> int:
    if not isinstance(value, int) or not 0 < value < 1 << 24:
        raise ValueError(f"{value!r:.40} is no size")
    return value


def _hint(files: Sequence[str]) -> str | None:
    ready = [name for name in files if name.lower().endswith(".gguf")]
    return f"it has ready GGUF files: add /{ready[0]} to its name" if ready else None
