"""The files of a CodeGen checkpoint in a repository, and the shape in its config.json. Weights are not read here."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cgcli.convert.config import Shape, parse_config
from cgcli.core.errors import ModelFileError

CONFIG = "config.json"
# A tokenizer has one of these forms.
_TOKENIZERS = (("vocab.json", "merges.txt"), ("tokenizer.json",))
_OPTIONAL = ("added_tokens.json", "tokenizer_config.json", "special_tokens_map.json")
# Names of the weights, the preferred format first: a single file, an index, shards.
_FORMS = (
    ("model.safetensors", "model.safetensors.index.json", re.compile(r"model-\d{5}-of-(\d{5})\.safetensors")),
    ("pytorch_model.bin", "pytorch_model.bin.index.json", re.compile(r"pytorch_model-\d{5}-of-(\d{5})\.bin")),
)


def checkpoint_files(source: str, files: Sequence[str]) -> list[str]:
    """The files to download: config, tokenizer, and weights as safetensors or else as pickles, single or sharded.

    Raises ModelFileError if one is missing.
    """
    if CONFIG not in files:
        raise ModelFileError(f"{source} is not a checkpoint: it has no {CONFIG}", hint=_ready(source, files))
    if not any(set(tokenizer) <= set(files) for tokenizer in _TOKENIZERS):
        raise ModelFileError(f"{source} has no tokenizer (vocab.json and merges.txt, or tokenizer.json)")
    known = (CONFIG, *(name for tokenizer in _TOKENIZERS for name in tokenizer), *_OPTIONAL)
    small = [name for name in known if name in files]
    for whole, index, shard in _FORMS:
        if whole in files:
            return [*small, whole]
        shards = [(name, match) for name in files if (match := shard.fullmatch(name))]
        if index in files and shards and all(int(match[1]) == len(shards) for _, match in shards):
            return [*small, index, *sorted(name for name, _ in shards)]
    raise ModelFileError(f"{source} has no complete model.safetensors or pytorch_model.bin", hint=_ready(source, files))


def config_shape(source: str, config: bytes, mp_num: int | None) -> Shape:
    """The shape in a config.json. Raises ModelFileError if it is not a CodeGen model that can be converted."""
    return parse_config(config, f"{source}/{CONFIG}", mp_num).shape


def _ready(source: str, files: Sequence[str]) -> str | None:
    ggufs = [name for name in files if name.lower().endswith(".gguf")]
    return f"cgcli pull {source}/{ggufs[0]}" if ggufs else None
