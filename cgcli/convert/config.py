"""Reads and checks a checkpoint's config.json: CodeGen's hyperparameters.

For a folder that is not a CodeGen checkpoint, the error says what it is instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cgcli.core.errors import ModelFileError
from cgcli.core.model_files import HEAD_BYTES, check_kind, parse_object, read_object
from cgcli.core.reading import read_bytes, shown, unreadable

MP_NUM = 4  # groups of the fused qkv rows: the cores of a TPU v4 that the model was trained on
EPSILON = 1e-5  # of LayerNorm
# CodeGen2 1B and 3.7B were trained on 8 cores (TPU v3). Layers and width tell them from all others.
MP_NUM_OF_SHAPE = {(16, 2048): 8, (16, 4096): 8}

MAX_LAYERS = 512
MAX_WIDTH = 1 << 16
MAX_VOCAB = 1 << 20
MAX_POSITIONS = 1 << 20
MAX_NAME = 256  # characters

# The defaults of transformers' CodeGenConfig, for keys whose values do not follow from the weights.
DEFAULTS = {
    "n_positions": 2048,
    "n_head": 16,
    "rotary_dim": 64,
    "layer_norm_epsilon": EPSILON,
    "activation_function": "gelu_new",
}
OTHER_NAMES = {  # also accepted by transformers
    "max_position_embeddings": "n_positions",
    "hidden_size": "n_embd",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder. The defaults describe CodeGen's block; the catalog also has models of Llama's."""

    layers: int
    width: int  # of the hidden states
    heads: int
    vocabulary: int  # rows of the embedding, padding included
    context: int  # tokens
    rotary: int = 0  # dimensions of a head that the rotary embedding rotates; 0: unknown
    key_value_heads: int | None = None  # None: as many as heads
    feed_forward: int | None = None  # None: 4 * width
    gated: bool = False  # the feed-forward layer has a gate matrix, as Llama's
    tied: bool = False  # the output layer is the token embedding

    @property
    def inner(self) -> int:
        """Width of the feed-forward layer."""
        return self.feed_forward or 4 * self.width

    @property
    def head(self) -> int:
        """Size of one head."""
        return self.width // self.heads

    @property
    def key_value_width(self) -> int:
        return self.head * (self.key_value_heads or self.heads)


@dataclass(frozen=True)
class CodeGenConfig:
    """Hyperparameters of a CodeGen checkpoint."""

    shape: Shape
    mp_num: int = MP_NUM  # groups of the rows of qkv_proj, each [q | v | k]
    epsilon: float = EPSILON  # of layer normalization
    name: str | None = None  # `_name_or_path`
    tied: bool = False  # the head's matrix is the embedding


def read_config(folder: Path, mp_num: int | None = None) -> CodeGenConfig:
    """The configuration of the checkpoint in `folder`. Raises ModelFileError if it is not CodeGen's.

    mp_num: overrides the value that follows from the shape.
    """
    _check_folder(folder)
    path = folder / "config.json"
    try:
        data = read_bytes(path)
    except OSError as error:
        raise unreadable(path, error, ModelFileError) from error
    return parse_config(data, str(path), mp_num)


def parse_config(data: bytes, path: str, mp_num: int | None = None) -> CodeGenConfig:
    """The configuration in the bytes of a config.json; `path` is for errors. Raises ModelFileError."""
    config = parse_object(data, path)
    kind, architectures = config.get("model_type"), config.get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else None
    if kind != "codegen" and (kind, first) != (None, "CodeGenForCausalLM"):
        known = f" ({shown(first)})" if first else ""
        raise _error(path, f"not a CodeGen checkpoint: its model_type is {shown(kind)}{known}")
    values = _Values(path, _with_defaults(path, config))
    n_layer = values.integer("n_layer", 1, MAX_LAYERS)
    width = values.integer("n_embd", 1, MAX_WIDTH)
    n_head = values.integer("n_head", 1, width)
    if width % n_head:
        raise _error(path, f"n_embd {width} is not divisible by n_head {n_head}")
    rotary = values.integer("rotary_dim", 2, width // n_head)
    if rotary % 2:
        raise _error(path, f"rotary_dim {rotary} is odd")
    inner = 4 * width if config.get("n_inner") is None else values.integer("n_inner", 1, 16 * MAX_WIDTH)
    groups = mp_num or MP_NUM_OF_SHAPE.get((n_layer, width), MP_NUM)
    if groups < 1 or n_head % groups:
        raise _error(path, f"n_head {n_head} is not divisible by mp_num {groups}")
    values.exactly("activation_function", "gelu_new")
    values.exactly("scale_attn_weights", True, default=True)
    name = config.get("_name_or_path")
    shape = Shape(
        layers=n_layer,
        width=width,
        heads=n_head,
        vocabulary=values.integer("vocab_size", 1, MAX_VOCAB),
        context=values.integer("n_positions", 1, MAX_POSITIONS),
        rotary=rotary,
        feed_forward=None if inner == 4 * width else inner,
    )
    return CodeGenConfig(
        shape,
        mp_num=groups,
        epsilon=values.number("layer_norm_epsilon", 1e-12, 1e-2),
        tied=values.truth("tie_word_embeddings", default=False),
        name=name if isinstance(name, str) and name and name.isprintable() and len(name) <= MAX_NAME else None,
    )


def _error(path: Path | str, what: str) -> ModelFileError:
    return ModelFileError(f"{path}: {what}")


def _with_defaults(path: str, config: dict[str, Any]) -> dict[str, Any]:
    named = dict(config)
    for other, key in OTHER_NAMES.items():
        if other in config and named.setdefault(key, config[other]) != config[other]:
            raise _error(path, f"{key} is {shown(named[key])}, but {other} is {shown(config[other])}")
    return DEFAULTS | named


class _Values:
    def __init__(self, path: str, config: dict[str, Any]) -> None:
        self.path = path
        self.config = config

    def integer(self, key: str, low: int, high: int) -> int:
        value = self.config.get(key)
        if type(value) is not int or not low <= value <= high:
            raise _error(self.path, f"{key} is {shown(value)}, expected an integer from {low} to {high}")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        value = self.config.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise _error(self.path, f"{key} is {shown(value)}, expected a number from {low:g} to {high:g}")
        return float(value)

    def truth(self, key: str, default: bool) -> bool:
        value = self.config.get(key, default)
        if not isinstance(value, bool):
            raise _error(self.path, f"{key} is {shown(value)}, expected true or false")
        return value

    def exactly(self, key: str, wanted: object, default: object = None) -> None:
        value = self.config.get(key, default)
        if value != wanted or type(value) is not type(wanted):
            raise _error(self.path, f"{key} is {shown(value)}; only {wanted!r} is supported")


def _check_folder(folder: Path) -> None:
    """Raise ModelFileError if this is not a folder with a config.json."""
    if folder.is_file():
        with folder.open("rb") as file:
            check_kind(folder, file.read(HEAD_BYTES), "safetensors", "zip", "pickle", "text")
        raise _error(folder, "is a file; a checkpoint is a folder with a config.json")
    if not folder.is_dir():
        raise ModelFileError(f"{folder}: no such folder")
    if (folder / "config.json").is_file():
        return
    if (folder / "adapter_config.json").is_file():
        base = read_object(folder / "adapter_config.json").get("base_model_name_or_path")
        raise ModelFileError(f"{folder} is a LoRA adapter of {shown(base)}", hint="merge it into its model first")
    ggufs = sorted(folder.glob("*.gguf"))
    if ggufs:
        raise ModelFileError(
            f"{folder} already has a GGUF ({ggufs[0].name}); nothing to convert",
            hint=f"cgcli models add {ggufs[0]} --name NAME",
        )
    raise ModelFileError(
        f"{folder} has no config.json, so it is not a checkpoint in the Hub's layout",
        hint="give the folder that has config.json and the weights",
    )
