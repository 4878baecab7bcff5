"""What a training run is to do: a recipe, a TOML file, read and checked.

A recipe is the whole of it: the same recipe, on the same data and devices, gives the same model. It knows names, kinds
and bounds; it opens nothing but the file itself. The published recipes are in models/recipes.

Defaults are the paper's where it has them (arXiv 2203.13474 as published in salesforce/jaxformer, config/*.json).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from cgcli.convert.config import MP_NUM, Shape
from cgcli.core.config import nearest
from cgcli.core.errors import UsageError
from cgcli.core.reading import read_toml, shown
from cgcli.core.typed import typed

PartT = TypeVar("PartT")
# What `[model]` sets of a shape. All else is as in the published models.
MODEL_KEYS = ("layers", "width", "heads", "rotary", "vocabulary", "context")
CODEGEN_350M = Shape(layers=20, width=1024, heads=16, vocabulary=51_200, context=2048, rotary=32)


@dataclass(frozen=True)
class DataPart:
    """Where text comes from and how it becomes records.

    paths: files, folders, archives (tar, zip, wheel), JSON lines; relative to the recipe.
    packages: a TOML list of packages of the index, fetched and checked; relative to the recipe.
    tokenizer: "codegen" (a folder of CodeGen's tokenizer files must then be told), the path of a folder of tokenizer
    files, or "train": a BPE of the same scheme with `[model] vocabulary` entries, trained on the data.
    extensions: suffixes that are source files. turns: the share of files also given as comment-and-code turns, 0 to 1.
    held_out: the share of sources (packages, or files where there are none) kept out of training.
    """

    paths: tuple[str, ...] = ()
    packages: str = ""
    tokenizer: str = "codegen"
    extensions: tuple[str, ...] = (".py",)
    turns: float = 0.0
    held_out: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class OptimizerPart:
    """AdamW, warm-up and cosine (the paper's order). Steps are of the optimiser.

    anneal: steps of the cosine after the warm-up (0: all that are left). clip: global norm. z_loss: weight of
    logsumexp squared.
    """

    lr: float = 3e-4
    lr_end: float = 3e-5
    warmup: int = 3000
    anneal: int = 0
    steps: int = 350_000
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    clip: float = 1.0
    z_loss: float = 1e-4


@dataclass(frozen=True)
class BatchPart:
    """sequences: records of one optimiser step, over all devices; accumulate: passes that they are read in."""

    sequences: int = 256
    accumulate: int = 1


@dataclass(frozen=True)
class LoraPart:
    """Low-rank adapters in place of all weights (arXiv 2106.09685). rank 0: none."""

    rank: int = 0
    alpha: float = 16.0


@dataclass(frozen=True)
class ComputePart:
    """dtype: of products, masters are float32; model_parallel: devices that one layer is split over, the rest of them
    read different records. seed: of the initial weights."""

    dtype: str = "bfloat16"
    remat: bool = True
    model_parallel: int = 1
    seed: int = 0


@dataclass(frozen=True)
class CheckpointPart:
    """every: steps between two; keep: how many."""

    every: int = 1000
    keep: int = 2


@dataclass(frozen=True)
class Recipe:
    """name: of the model that comes out; init: a pulled or converted model's checkpoint to start from, "" for none."""

    name: str = "codegen"
    init: str = ""
    model: Shape = CODEGEN_350M
    data: DataPart = field(default_factory=DataPart)
    optimizer: OptimizerPart = field(default_factory=OptimizerPart)
    batch: BatchPart = field(default_factory=BatchPart)
    lora: LoraPart = field(default_factory=LoraPart)
    compute: ComputePart = field(default_factory=ComputePart)
    checkpoint: CheckpointPart = field(default_factory=CheckpointPart)


def as_table(recipe: Recipe) -> dict[str, Any]:
    """The recipe as `read_recipe` takes it: {"name": ..., "model": {"layers": ...}, ...}."""
    table = asdict(recipe)
    return table | {"model": {key: table["model"][key] for key in MODEL_KEYS}}


def read_recipe(path: Path) -> Recipe:
    """The recipe in the TOML file `path`. Raises UsageError naming the key that is unknown, of the wrong kind or out of
    its bounds, with the nearest right one."""
    table = read_toml(path, UsageError)
    return checked(_part(Recipe(), table, f"{path}: "), f"{path}: ")


def with_values(recipe: Recipe, **parts: dict[str, Any]) -> Recipe:
    """`recipe` with some values of some parts replaced, checked again."""
    changed = {name: replace(getattr(recipe, name), **values) for name, values in parts.items()}
    return checked(replace(recipe, **changed), "")


def checked(recipe: Recipe, where: str) -> Recipe:
    """`recipe` itself. Raises UsageError for what cannot be."""
    for fault in _faults(recipe):
        raise UsageError(where + fault)
    return recipe


def _faults(recipe: Recipe) -> Iterator[str]:
    """What cannot be, one after the other: a check may rely on those before it."""
    model, batch, optimizer, data = recipe.model, recipe.batch, recipe.optimizer, recipe.data
    if min(model.layers, model.width, model.heads, model.vocabulary, model.context) < 1:
        yield "[model] layers, width, heads, vocabulary and context must be positive"
    if model.width % model.heads:
        yield f"[model] width {model.width} is not divisible by heads {model.heads}"
    if model.heads % MP_NUM:
        yield f"[model] heads {model.heads} is not divisible by {MP_NUM}"
    head = model.width // model.heads
    if model.rotary % 2 or not 2 <= model.rotary <= head:
        yield f"[model] rotary {model.rotary} is not an even number up to {head}"
    if min(batch.accumulate, batch.sequences) < 1 or batch.sequences % batch.accumulate:
        yield f"[batch] sequences {batch.sequences} is not divisible by accumulate {batch.accumulate}"
    if not 0 <= optimizer.warmup <= optimizer.steps or optimizer.steps < 1:
        yield f"[optimizer] steps {optimizer.steps} and warmup {optimizer.warmup}: a step, and a warm-up within them"
    if not 0 <= optimizer.lr_end <= optimizer.lr or not optimizer.lr > 0:
        yield f"[optimizer] lr {optimizer.lr:g} to {optimizer.lr_end:g}: it falls, and stays above zero"
    if recipe.compute.dtype not in ("bfloat16", "float16", "float32"):
        yield f"[compute] dtype {recipe.compute.dtype!r}: bfloat16, float16 or float32"
    if not (0 <= data.turns <= 1 and 0 <= data.held_out < 1):
        yield f"[data] turns {data.turns:g} and held_out {data.held_out:g}: shares, from 0 to 1"
    if recipe.lora.rank < 0:
        yield f"[lora] rank {recipe.lora.rank}: 0 or more"
    if min(recipe.checkpoint.every, recipe.checkpoint.keep) < 1:
        yield f"[checkpoint] every {recipe.checkpoint.every}, keep {recipe.checkpoint.keep}: 1 or more"


def _part(part: PartT, table: dict[str, Any], where: str) -> PartT:
    """`part`, a recipe or one of its parts, with the values that `table` has."""
    hints = get_type_hints(type(part))
    names = MODEL_KEYS if isinstance(part, Shape) else tuple(hints)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in names:
            raise UsageError(f"{where}no such key: {key:.80}{nearest(key, names)}")
        before = getattr(part, key)
        if not is_dataclass(before):
            values[key] = _value(hints[key], value, f"{where}{key}")
        elif isinstance(value, dict):
            values[key] = _part(before, value, f"{where}[{key}] ")
        else:
            raise UsageError(f"{where}{key} is a table: [{key}]")
    return replace(part, **values)  # type: ignore[type-var]


def _value(wanted: Any, value: Any, where: str) -> Any:
    words = {
        int: "a whole number of 64 bits",
        float: "a number",
        bool: "true or false",
        str: "a text",
        tuple[str, ...]: "a list of texts",
    }
    try:
        found = typed(wanted, value, where)
        if (wanted is int and not -(1 << 63) <= found < 1 << 63) or (wanted is float and not math.isfinite(found)):
            raise ValueError
        if wanted in (str, tuple[str, ...]) and "\0" in "".join(found):
            raise ValueError
    except ValueError:
        raise UsageError(f"{where} is {shown(value)}, not {words[wanted]}") from None
    return found
