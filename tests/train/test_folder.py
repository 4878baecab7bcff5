"""The folder of a run: its recipe, and its lock."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cgcli.core.errors import CgcliError, UsageError
from cgcli.train.folder import RunFolder, recipe_digest, resolved, toml
from cgcli.train.recipe import CheckpointPart, LoraPart, Recipe, read_recipe, with_values

ODD = with_values(
    Recipe(name='a "name"\nwith \\ and \x7f, ü', lora=LoraPart(3, 7.5)),
    data={"paths": ("a b", "c'd"), "held_out": 0.1},
    optimizer={"lr": 1e-05, "lr_end": 1e-06},
    compute={"remat": False},
)


@pytest.mark.parametrize("recipe", [Recipe(), ODD])
def test_a_recipe_comes_back_from_its_file(tmp_path: Path, recipe: Recipe) -> None:
    (tmp_path / "recipe.toml").write_text(toml(recipe), "utf-8")
    assert read_recipe(tmp_path / "recipe.toml") == recipe


def test_paths_become_absolute_and_words_stay(tmp_path: Path) -> None:
    recipe = with_values(Recipe(init="start"), data={"paths": ("src", "/abs"), "packages": "list.toml"})
    found = resolved(recipe, tmp_path)
    assert found.init == str(tmp_path / "start")
    assert found.data.paths == (str(tmp_path / "src"), "/abs")
    assert found.data.packages == str(tmp_path / "list.toml")
    assert found.data.tokenizer == "codegen"
    assert resolved(Recipe(), tmp_path) == Recipe()


def test_another_recipe_is_refused_and_more_steps_are_not(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "out")
    with folder.held(with_values(Recipe(), optimizer={"lr": 0.2})):
        pass
    with folder.held(Recipe()):  # nothing was trained yet: the folder is free
        (folder.checkpoints / "3").mkdir(parents=True)
    longer = replace(with_values(Recipe(), optimizer={"steps": 400_000}), checkpoint=CheckpointPart(5, 1))
    with folder.held(longer):
        pass
    assert read_recipe(folder.recipe) == longer
    other = with_values(Recipe(), optimizer={"lr": 0.1})
    with (
        pytest.raises(UsageError, match=r"another recipe: its optimizer\.lr is 0\.0003, not 0\.1") as told,
        folder.held(other),
    ):
        pass
    assert told.value.hint == "choose another folder with -o"
    assert read_recipe(folder.recipe) == longer
    assert recipe_digest(longer) == recipe_digest(Recipe()) != recipe_digest(other)


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    other = f"from cgcli.train.folder import *\nwith RunFolder(Path({str(tmp_path)!r})).held(Recipe()): pass"
    with RunFolder(tmp_path).held(Recipe()):
        done = subprocess.run([sys.executable, "-c", other], capture_output=True, check=False)
    assert b"another process is training in" in done.stderr
    assert subprocess.run([sys.executable, "-c", other], check=False).returncode == 0


def test_a_disk_that_says_no_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CgcliError, match="cannot write"), RunFolder(tmp_path / "file" / "out").held(Recipe()):
        pass
