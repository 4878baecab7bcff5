"""What a run's folder holds, and whose it is.

    OUT/recipe.toml     the recipe as used: paths are absolute, nothing is left to a default
    OUT/data/           the records, the tokenizer, what was held out
    OUT/checkpoints/    the last few, each whole or not there
    OUT/metrics.jsonl   a line a step
    OUT/export/         the trained model in the Hub's layout
    OUT/profile/        a trace, where one was asked for

A folder with checkpoints belongs to one recipe: another one is refused, but for how long to train and when to keep a
checkpoint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cgcli.core.errors import CgcliError, UsageError
from cgcli.core.files import disk_error, take_lock, write_atomic
from cgcli.train.recipe import Recipe, as_table, read_recipe


@dataclass(frozen=True)
class Folder:
    """Where things of a run are."""

    root: Path

    @property
    def recipe(self) -> Path:
        return self.root / "recipe.toml"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.jsonl"

    @property
    def export(self) -> Path:
        return self.root / "export"

    @property
    def profile(self) -> Path:
        return self.root / "profile"

    @property
    def held_bytes(self) -> int:
        """What the run holds on this disk; 0 where there is none."""
        if not self.recipe.is_file() or not self.checkpoints.is_dir():
            return 0
        return sum(file.lstat().st_size for file in self.root.rglob("*") if file.is_file())

    def check(self, recipe: Recipe) -> None:
        """Raises UsageError where another recipe has checkpoints here, naming what differs."""
        if not self.recipe.is_file() or not any(self.checkpoints.glob("[0-9]*")):
            return
        there, wanted = flat(_same_run(read_recipe(self.recipe))), flat(_same_run(recipe))
        for name, value in wanted.items():
            if there[name] != value:
                raise UsageError(
                    f"{self.root} has a run of another recipe: {name} is {there[name]!r} there, {value!r} here",
                    hint="another folder with -o",
                )

    @contextmanager
    def held(self, recipe: Recipe) -> Iterator[None]:
        """The folder made, its recipe written, and kept from other processes while the block runs.

        Raises UsageError as `check`, CgcliError where another process trains there or the disk says no.
        """
        self.check(recipe)
        try:
            written = toml(recipe).encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"a path of the run is no UTF-8 text: {error.object!a}", hint="rename it") from None
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = take_lock(self.root / ".lock")
        except OSError as error:
            raise disk_error(self.root, error) from error
        if lock is None:
            raise CgcliError(f"another process trains in {self.root}", hint="wait for it, or choose another -o")
        try:
            write_atomic(self.recipe, written)
            yield
        finally:
            lock.release()


def digest(recipe: Recipe) -> str:
    """Of everything in a recipe that a checkpoint depends on."""
    return hashlib.sha256(json.dumps(as_table(_same_run(recipe)), sort_keys=True).encode()).hexdigest()


def resolved(recipe: Recipe, base: Path) -> Recipe:
    """With absolute paths. base: the folder that the recipe's own are relative to."""

    def absolute(path: str) -> str:
        return str((base / Path(path).expanduser()).absolute()) if path else path

    data = replace(
        recipe.data,
        paths=tuple(map(absolute, recipe.data.paths)),
        packages=absolute(recipe.data.packages),
        tokenizer=recipe.data.tokenizer
        if recipe.data.tokenizer in ("codegen", "train")
        else absolute(recipe.data.tokenizer),
    )
    return replace(recipe, init=absolute(recipe.init), data=data)


def toml(recipe: Recipe) -> str:
    """The recipe as the TOML file that `read_recipe` takes."""
    lines = []
    for name, value in sorted(as_table(recipe).items(), key=lambda item: isinstance(item[1], dict)):
        if isinstance(value, dict):
            lines += ["", f"[{name}]", *(f"{key} = {_toml(one)}" for key, one in value.items())]
        else:
            lines.append(f"{name} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def flat(recipe: Recipe) -> dict[str, Any]:
    """Every value by its name: {"name": ..., "model.layers": ...}."""
    found: dict[str, Any] = {}
    for name, value in as_table(recipe).items():
        found.update({f"{name}.{key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value})
    return found


def _same_run(recipe: Recipe) -> Recipe:
    """Without what may change between one start of a run and the next."""
    plain = Recipe()
    return replace(
        recipe,
        name=plain.name,
        checkpoint=plain.checkpoint,
        optimizer=replace(recipe.optimizer, steps=plain.optimizer.steps),
    )


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    # JSON's texts are TOML's, but for the one control character that JSON leaves as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)
