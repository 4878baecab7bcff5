"""A run that takes seconds: a few files of code, a model of some thousand weights."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import jax

from cgcli.convert.config import Shape
from cgcli.train.folder import RunFolder, toml
from cgcli.train.metrics import read_metrics
from cgcli.train.recipe import (
    BatchPart,
    CheckpointPart,
    ComputePart,
    DataPart,
    LoraPart,
    OptimizerPart,
    Recipe,
)
from tests.conftest import REPOSITORY
from tests.support.process import CGCLI

STEPS = 20
# Compiling takes most of a tiny run's time, and is done once: XLA's programs are kept by what they are made of.
COMPILED = {
    "JAX_COMPILATION_CACHE_DIR": str(REPOSITORY / "build" / "jax-cache"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
}


def write_sources(folder: Path, files: int = 12, word: str = "value") -> Path:
    """A folder of small modules, each different, about 100 tokens long."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        functions = (
            f"def {word}_{number}_{index}(item):\n    total = item + {index} * {number}\n    return total - 1\n"
            for index in range(8)
        )
        (folder / f"module_{number}.py").write_text("\n\n".join(functions))
    return folder


def tiny(sources: Path, steps: int = STEPS) -> Recipe:
    """A recipe on those sources; a checkpoint every third step."""
    return Recipe(
        name="tiny",
        model=Shape(layers=2, width=32, heads=4, rotary=8, vocabulary=320, context=64),
        data=DataPart(paths=(str(sources),), tokenizer="train"),
        optimizer=OptimizerPart(lr=1e-2, lr_end=1e-3, warmup=2, anneal=STEPS, steps=steps),
        batch=BatchPart(sequences=4, accumulate=2),
        lora=LoraPart(),
        compute=ComputePart(dtype="float32"),
        checkpoint=CheckpointPart(every=3, keep=2),
    )


def write_recipe(path: Path, recipe: Recipe) -> Path:
    path.write_text(toml(recipe), "utf-8")
    return path


def losses(out: Path) -> dict[int, float]:
    """By step."""
    rows = list(read_metrics(RunFolder(out).metrics))
    found = {row.step: row.loss for row in rows}
    assert len(found) == len(rows)
    return found


def trained_weights(out: Path) -> bytes:
    return (RunFolder(out).export / "model.safetensors").read_bytes()


def keep_compiled() -> None:
    """In this process, too."""
    for name, value in COMPILED.items():
        jax.config.update(name.lower(), value if name.endswith("DIR") else int(value))


def started(*arguments: str | Path, **variables: str) -> subprocess.Popen[str]:
    """`cgcli train` in a process of its own."""
    return subprocess.Popen(
        [*CGCLI, "train", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu", **COMPILED, **variables},
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Status and both streams."""
    with process:
        out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def longer(recipe: Recipe, steps: int) -> Recipe:
    return replace(recipe, optimizer=replace(recipe.optimizer, steps=steps))
