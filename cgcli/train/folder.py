"""The folder of a training run.

    OUT/recipe.toml     the complete recipe: paths are absolute, no value is left to a default
    OUT/data/           the records, the tokenizer, the held-out texts
    OUT/checkpoints/    the last few checkpoints, each complete
    OUT/metrics.jsonl   a line per step
    OUT/export/         the trained model in the Hub's layout
    OUT/profile/        a trace, with --profile

A folder with checkpoints belongs to one recipe. Only its name, its number of steps and the frequency of checkpoints may
change.
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
from cgcli.core.paths import expanded
from cgcli.train.recipe import Recipe, as_table, read_recipe


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run's files."""

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
        """Size of the run on disk; 0 if the folder has no run."""
        if not self.recipe.is_file() or not self.checkpoints.is_dir():
            return 0
        return sum(file.lstat().st_size for file in self.root.rglob("*") if file.is_file())

    def check(self, recipe: Recipe) -> None:
        """Raises UsageError, with the first difference, if the folder has checkpoints of another recipe."""
        if not self.recipe.is_file() or not any(self.checkpoints.glob("[0-9]*")):
            return
        there, wanted = flat(_same_run(read_recipe(self.recipe))), flat(_same_run(recipe))
        for name, value in wanted.items():
            if there[name] != value:
                raise UsageError(
                    f"{self.root} belongs to another recipe: its {name} is {there[name]!r}, not {value!r}",
                    hint="choose another folder with -o",
                )

    @contextmanager
    def held(self, recipe: Recipe) -> Iterator[None]:
        """Create the folder, write its recipe, and lock it against other processes.

        Raises UsageError as `check` does, CgcliError if another process holds the lock or the disk fails.
        """
        self.check(recipe)
        try:
            written = toml(recipe).encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"a path of the run is not UTF-8: {error.object!a}", hint="rename the file") from None
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = take_lock(self.root / ".lock")
        except OSError as error:
            raise disk_error(self.root, error) from error
        if lock is None:
            raise CgcliError(
                f"another process is training in {self.root}", hint="wait for it, or choose another folder with -o"
            )
        try:
            write_atomic(self.recipe, written)
            yield
        finally:
            lock.release()


def recipe_digest(recipe: Recipe) -> str:
    """A hash of everything in a recipe that a checkpoint depends on."""
    return hashlib.sha256(json.dumps(as_table(_same_run(recipe)), sort_keys=True).encode()).hexdigest()


def resolved(recipe: Recipe, base: Path) -> Recipe:
    """The recipe with absolute paths. base: folder that its paths are relative to."""

    def absolute(path: str) -> str:
        return str((base / expanded(path)).absolute()) if path else path

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
    """The recipe as TOML, for `read_recipe`."""
    lines = []
    for name, value in sorted(as_table(recipe).items(), key=lambda item: isinstance(item[1], dict)):
        if isinstance(value, dict):
            lines += ["", f"[{name}]", *(f"{key} = {_toml(one)}" for key, one in value.items())]
        else:
            lines.append(f"{name} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def flat(recipe: Recipe) -> dict[str, Any]:
    """All values by name: {"name": ..., "model.layers": ...}."""
    found: dict[str, Any] = {}
    for name, value in as_table(recipe).items():
        found.update({f"{name}.{key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value})
    return found


def _same_run(recipe: Recipe) -> Recipe:
    """The recipe without the values that may change between two starts of a run."""
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
    # JSON's strings are TOML's, except for the one control character that JSON does not escape.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)
