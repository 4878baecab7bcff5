"""What a checkpoint says about its own shape: config.json, checked.

It knows CodeGen's hyper-parameters and how to say what a folder is that is not a CodeGen checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cgcli.convert.json_file import read_json
from cgcli.core.errors import ModelFileError
from cgcli.core.reading import shown

MP_NUM = 4  # groups of the fused qkv rows: the cores of a TPU v4 that the model was trained on
# CodeGen2 1B and 3.7B were trained on 8 cores (TPU v3). Layers and width tell them from all others.
MP_NUM_OF_SHAPE = {(16, 2048): 8, (16, 4096): 8}

MAX_LAYERS = 512
MAX_WIDTH = 1 << 16
MAX_VOCAB = 1 << 20
MAX_POSITIONS = 1 << 20
MAX_NAME = 256  # characters

GGML_MAGICS = {b"lmgg": "ggml", b"fmgg": "ggmf", b"tjgg": "ggjt"}


@dataclass(frozen=True)
class CodeGenConfig:
    """Hyper-parameters of a CodeGen checkpoint.

    width: n_embd; hidden: of the feed-forward layer; rotary: rotary dimensions of a head;
    mp_num: groups into which the rows of qkv_proj are dealt, each [q | v | k].
    """

    n_layer: int
    n_head: int
    width: int
    hidden: int
    rotary: int
    n_vocab: int
    n_positions: int
    epsilon: float
    mp_num: int
    name: str | None

    @property
    def head(self) -> int:
        """Size of one head."""
        return self.width // self.n_head


def read_config(folder: Path, mp_num: int | None = None) -> CodeGenConfig:
    """The configuration of the checkpoint in `folder`.

    mp_num: overrides what the shape tells. Raises ModelFileError, saying what the folder is, for anything but CodeGen.
    """
    _say_what_it_is(folder)
    path = folder / "config.json"
    config = read_json(path)
    kind = config.get("model_type")
    if kind != "codegen":
        architectures = config.get("architectures")
        first = architectures[0] if isinstance(architectures, list) and architectures else None
        known = f" ({shown(first)})" if first else ""
        raise _error(path, f"is of model_type {shown(kind)}{known}, not a CodeGen checkpoint")
    values = _Values(path, config)
    n_layer = values.integer("n_layer", 1, MAX_LAYERS)
    width = values.integer("n_embd", 1, MAX_WIDTH)
    n_head = values.integer("n_head", 1, width)
    if width % n_head:
        raise _error(path, f"n_embd {width} is not divisible by n_head {n_head}")
    rotary = values.integer("rotary_dim", 2, width // n_head)
    if rotary % 2:
        raise _error(path, f"rotary_dim {rotary} is odd")
    hidden = 4 * width if config.get("n_inner") is None else values.integer("n_inner", 1, 16 * MAX_WIDTH)
    groups = mp_num or MP_NUM_OF_SHAPE.get((n_layer, width), MP_NUM)
    if groups < 1 or n_head % groups:
        raise _error(path, f"n_head {n_head} is not divisible by mp_num {groups}")
    values.exactly("activation_function", "gelu_new")
    values.exactly("tie_word_embeddings", False, default=False)
    values.exactly("scale_attn_weights", True, default=True)
    name = config.get("_name_or_path")
    return CodeGenConfig(
        n_layer=n_layer,
        n_head=n_head,
        width=width,
        hidden=hidden,
        rotary=rotary,
        n_vocab=values.integer("vocab_size", 1, MAX_VOCAB),
        n_positions=values.integer("n_positions", 1, MAX_POSITIONS),
        epsilon=values.number("layer_norm_epsilon", 1e-12, 1e-2),
        mp_num=groups,
        name=name if isinstance(name, str) and name and name.isprintable() and len(name) <= MAX_NAME else None,
    )


def _error(path: Path, what: str) -> ModelFileError:
    return ModelFileError(f"{path}: {what}")


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

    def exactly(self, key: str, wanted: object, default: object = None) -> None:
        value = self.config.get(key, default)
        if value != wanted or type(value) is not type(wanted):
            raise _error(self.path, f"{key} is {shown(value)}; only {wanted!r} can be converted")


def _say_what_it_is(folder: Path) -> None:
    """Raises ModelFileError for what is not a folder with a config.json."""
    if folder.is_file():
        raise _error(folder, f"is {_kind_of_file(folder)}; a checkpoint is the folder that has config.json")
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


def _kind_of_file(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(16)
    if head[:4] == b"GGUF":
        return "a GGUF already"
    if head[:4] in GGML_MAGICS:
        return f"a file of the old {GGML_MAGICS[head[:4]]} format, which nothing converts"
    return "a file"
