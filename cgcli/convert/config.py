"""What a checkpoint says about its own shape: config.json, checked.

It knows CodeGen's hyper-parameters and how to say what a folder is that is not a CodeGen checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cgcli.convert.json_file import read_json
from cgcli.core.errors import ModelFileError
from cgcli.core.file_kinds import HEAD_BYTES, check_kind
from cgcli.core.reading import shown

MP_NUM = 4  # groups of the fused qkv rows: the cores of a TPU v4 that the model was trained on
EPSILON = 1e-5  # of LayerNorm
# CodeGen2 1B and 3.7B were trained on 8 cores (TPU v3). Layers and width tell them from all others.
MP_NUM_OF_SHAPE = {(16, 2048): 8, (16, 4096): 8}

MAX_LAYERS = 512
MAX_WIDTH = 1 << 16
MAX_VOCAB = 1 << 20
MAX_POSITIONS = 1 << 20
MAX_NAME = 256  # characters

# transformers' CodeGenConfig: what a key that is left out means, where the weights do not tell; other names of keys.
DEFAULTS = {
    "n_positions": 2048,
    "n_head": 16,
    "rotary_dim": 64,
    "layer_norm_epsilon": EPSILON,
    "activation_function": "gelu_new",
}
OTHER_NAMES = {
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
    rotary: int = 0  # dimensions of a head that the rotary embedding turns; 0: not known
    key_value_heads: int | None = None  # None: as many as heads
    feed_forward: int | None = None  # None: 4 * width
    gated: bool = False  # the feed-forward layer has a gate matrix, as Llama's
    tied: bool = False  # the output layer is the token embedding, as in Llama

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
    """A CodeGen checkpoint: its shape, and what else its config.json says."""

    shape: Shape
    mp_num: int = MP_NUM  # groups into which the rows of qkv_proj are dealt, each [q | v | k]
    epsilon: float = EPSILON
    name: str | None = None
    tied: bool = False  # the file has no lm_head.weight: it is the embedding's


def read_config(folder: Path, mp_num: int | None = None) -> CodeGenConfig:
    """The configuration of the checkpoint in `folder`.

    mp_num: overrides what the shape tells. Raises ModelFileError, saying what the folder is, for anything but CodeGen.
    """
    _say_what_it_is(folder)
    path = folder / "config.json"
    config = read_json(path)
    kind, architectures = config.get("model_type"), config.get("architectures")
    first = architectures[0] if isinstance(architectures, list) and architectures else None
    if kind != "codegen" and (kind, first) != (None, "CodeGenForCausalLM"):
        known = f" ({shown(first)})" if first else ""
        raise _error(path, f"is of model_type {shown(kind)}{known}, not a CodeGen checkpoint")
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


def _error(path: Path, what: str) -> ModelFileError:
    return ModelFileError(f"{path}: {what}")


def _with_defaults(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    named = dict(config)
    for other, key in OTHER_NAMES.items():
        if other in config and named.setdefault(key, config[other]) != config[other]:
            raise _error(path, f"{key} is {shown(named[key])}, but {other} is {shown(config[other])}")
    return DEFAULTS | named


class _Values:
    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.config = config

    def integer(self, key: str, low: int, high: int) -> int:
        value = self.config.get(key)
        if type(value) is not int or not low <= value <= high:
            raise _error(self.path, f"{key} is {shown(value)}, not a whole number from {low} to {high}")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        value = self.config.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise _error(self.path, f"{key} is {shown(value)}, not a number from {low:g} to {high:g}")
        return float(value)

    def truth(self, key: str, default: bool) -> bool:
        value = self.config.get(key, default)
        if not isinstance(value, bool):
            raise _error(self.path, f"{key} is {shown(value)}, not true or false")
        return value

    def exactly(self, key: str, wanted: object, default: object = None) -> None:
        value = self.config.get(key, default)
        if value != wanted or type(value) is not type(wanted):
            raise _error(self.path, f"{key} is {shown(value)}; only {wanted!r} can be converted")


def _say_what_it_is(folder: Path) -> None:
    """Raises ModelFileError for what is not a folder with a config.json."""
    if folder.is_file():
        with folder.open("rb") as file:
            check_kind(folder, file.read(HEAD_BYTES), "safetensors", "zip", "pickle", "text")
        raise _error(folder, "is a file; a checkpoint is the folder that has config.json")
    if not folder.is_dir():
        raise ModelFileError(f"{folder}: no such folder")
    if (folder / "config.json").is_file():
        return
    if (folder / "adapter_config.json").is_file():
        base = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
        raise _error(folder, f"is a LoRA adapter of {shown(base)}, not a checkpoint: merge it into its model first")
    ggufs = sorted(folder.glob("*.gguf"))
    if ggufs:
        raise ModelFileError(
            f"{folder}: has a GGUF already ({ggufs[0].name}), nothing to convert",
            hint=f"cgcli models add {ggufs[0]} --name NAME",
        )
    raise _error(folder, "has no config.json: not a checkpoint in the Hub's layout")
