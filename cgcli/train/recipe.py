"""Recipes: TOML files that describe a training run completely.

The same recipe gives the same model on the same data and devices. Reading a recipe checks names, types and bounds, and
opens no other file. The published recipes are in models/recipes. Defaults are the paper's where it has them (arXiv
2203.13474 as published in salesforce/jaxformer, config/*.json).
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
# The fields of a shape that `[model]` sets. The others have their defaults, as in the published models.
MODEL_KEYS = ("layers", "width", "heads", "rotary", "vocabulary", "context")
CODEGEN_350M = Shape(layers=20, width=1024, heads=16, vocabulary=51_200, context=2048, rotary=32)


@dataclass(frozen=True)
class DataPart:
    """Where text comes from and how it becomes records. Paths are relative to the recipe."""

    paths: tuple[str, ...] = ()  # files, folders, archives (tar, zip, wheel), JSON lines
    packages: str = ""  # a TOML list of wheels to download and verify
    # "codegen": CodeGen's, from the folder given with --tokenizer. "train": a BPE of the same scheme with `[model]
    # vocabulary` entries, trained on the data. Otherwise a folder of tokenizer files.
    tokenizer: str = "codegen"
    extensions: tuple[str, ...] = (".py",)  # of source files
    turns: float = 0.0  # share of files that are also used as programs in comment-and-code turns, 0 to 1
    held_out: float = 0.0  # share of sources (packages, or files outside of them) that are not trained on
    seed: int = 0


@dataclass(frozen=True)
class OptimizerPart:
    """AdamW with warm-up and cosine decay. All steps are optimizer steps."""

    lr: float = 3e-4
    lr_end: float = 3e-5
    warmup: int = 3000
    anneal: int = 0  # steps of the cosine after the warm-up; 0: all remaining ones
    steps: int = 350_000
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    clip: float = 1.0  # global norm of the gradients
    z_loss: float = 1e-4  # weight of logsumexp squared


@dataclass(frozen=True)
class BatchPart:
    """The records of one optimizer step."""

    sequences: int = 256  # over all devices
    accumulate: int = 1  # passes that they are divided into


@dataclass(frozen=True)
class LoraPart:
    """Low-rank adapters, trained in place of all weights (arXiv 2106.09685)."""

    rank: int = 0  # 0: no adapters
    alpha: float = 16.0


@dataclass(frozen=True)
class ComputePart:
    """How a step is computed."""

    dtype: str = "bfloat16"  # of matrix products; master weights are float32
    remat: bool = True  # recompute activations in the backward pass: less memory, more time
    model_parallel: int = 1  # devices that each layer is split across; the batch is split across the others
    seed: int = 0  # of the initial weights and the order of the records


@dataclass(frozen=True)
class CheckpointPart:
    """When checkpoints are saved."""

    every: int = 1000  # steps
    keep: int = 2  # the last ones


@dataclass(frozen=True)
class Recipe:
    """Everything that a training run depends on."""

    name: str = "codegen"  # of the trained model
    init: str = ""  # folder of a checkpoint to start from; "" for random weights
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
    """Read the recipe in the TOML file `path`.

    Raises UsageError for a key that is unknown (with the nearest known one), of the wrong type or out of bounds.
    """
    table = read_toml(path, UsageError)
    return checked(_part(Recipe(), table, f"{path}: "), f"{path}: ")


def with_values(recipe: Recipe, **parts: dict[str, Any]) -> Recipe:
    """A copy of `recipe` with some values of some parts replaced. Raises UsageError as `checked` does."""
    changed = {name: replace(getattr(recipe, name), **values) for name, values in parts.items()}
    return checked(replace(recipe, **changed), "")


def checked(recipe: Recipe, where: str) -> Recipe:
    """Return `recipe`, or raise UsageError for values that do not fit together; `where` begins the message."""
    for fault in _faults(recipe):
        raise UsageError(where + fault)
    return recipe


def _faults(recipe: Recipe) -> Iterator[str]:
    """Yield what is wrong; a check may rely on those before it."""
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
        yield f"[optimizer] warmup {optimizer.warmup} must be between 0 and steps {optimizer.steps}, and steps positive"
    if not 0 <= optimizer.lr_end <= optimizer.lr or not optimizer.lr > 0:
        yield f"[optimizer] lr {optimizer.lr:g} must be positive, and lr_end {optimizer.lr_end:g} between 0 and lr"
    if recipe.compute.dtype not in ("bfloat16", "float16", "float32"):
        yield f"[compute] dtype {recipe.compute.dtype!r} is not one of bfloat16, float16, float32"
    if not (0 <= data.turns <= 1 and 0 <= data.held_out < 1):
        yield f"[data] turns {data.turns:g} and held_out {data.held_out:g} must be between 0 and 1"
    if recipe.lora.rank < 0:
        yield f"[lora] rank {recipe.lora.rank} is negative"
    if min(recipe.checkpoint.every, recipe.checkpoint.keep) < 1:
        yield f"[checkpoint] every {recipe.checkpoint.every} and keep {recipe.checkpoint.keep} must be positive"


def _part(part: PartT, table: dict[str, Any], where: str) -> PartT:
    """`part`, a recipe or one of its parts, with the values that `table` has."""
    hints = get_type_hints(type(part))
    names = MODEL_KEYS if isinstance(part, Shape) else tuple(hints)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in names:
            raise UsageError(f"{where}unknown key: {key:.80}{nearest(key, names)}")
        before = getattr(part, key)
        if not is_dataclass(before):
            values[key] = _value(hints[key], value, f"{where}{key}")
        elif isinstance(value, dict):
            values[key] = _part(before, value, f"{where}[{key}] ")
        else:
            raise UsageError(f"{where}{key} must be a table: [{key}]")
    return replace(part, **values)  # type: ignore[type-var]


def _value(wanted: Any, value: Any, where: str) -> Any:
    words = {
        int: "a 64-bit integer",
        float: "a number",
        bool: "true or false",
        str: "a string",
        tuple[str, ...]: "a list of strings",
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
