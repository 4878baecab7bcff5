"""Recipes: values, defaults, and errors of one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cgcli.core.errors import CgcliError, ExitStatus, UsageError
from cgcli.train.recipe import CODEGEN_350M, Recipe, _faults, checked, read_recipe, with_values
from tests.conftest import REPOSITORY

RECIPES = REPOSITORY / "models" / "recipes"
PUBLISHED = sorted(path for path in RECIPES.glob("*.toml") if not path.stem.endswith("-packages"))


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, "utf-8")
    return path


def test_values_and_defaults(tmp_path: Path) -> None:
    recipe = read_recipe(
        written(
            tmp_path, 'name = "mine"\n[model]\nlayers = 6\n[optimizer]\nlr = 1\nlr_end = 0.5\n[data]\npaths = ["a"]\n'
        )
    )
    assert (recipe.name, recipe.model.layers, recipe.data.paths) == ("mine", 6, ("a",))
    assert recipe.optimizer.lr == 1.0 and type(recipe.optimizer.lr) is float
    assert recipe.model.width == Recipe().model.width


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[model]\nlayer = 6", r"\[model\] unknown key: layer, did you mean layers\?"),
        ("[model]\ntied = true", r"\[model\] unknown key: tied"),
        ("model = 6", r"model must be a table: \[model\]"),
        ('[model]\nlayers = "6"', "layers is '6', not a 64-bit integer"),
        ("[model]\nlayers = true", "layers is True, not a 64-bit integer"),
        ("[data]\npaths = [1]", "not a list of strings"),
        ("[model]\nwidth = 1000", "width 1000 is not divisible by heads 16"),
        ("[model]\nheads = 0", "must be positive"),
        ("[model]\nheads = -16", "must be positive"),
        ("[model]\nwidth = 0", "must be positive"),
        ("[batch]\naccumulate = 0", "sequences 256 is not divisible by accumulate 0"),
        ("[model]\nheads = 2", "heads 2 is not divisible by 4"),
        ("[model]\nrotary = 33", "rotary 33 is not an even number up to 64"),
        ("[batch]\nsequences = 9\naccumulate = 2", "sequences 9 is not divisible by accumulate 2"),
        ("[optimizer]\nsteps = 10", "warmup 3000 must be between 0 and steps 10"),
        ("[optimizer]\nlr_end = 1", "lr_end 1 between"),
        ('[compute]\ndtype = "int8"', "dtype 'int8'"),
        ("[data]\nturns = 2", "turns 2 and held_out 0"),
        ("[lora]\nrank = -1", "rank -1"),
        ("[checkpoint]\nkeep = 0", "keep 0"),
        ("[model", "not TOML"),
    ],
)
def test_wrong_recipes(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        read_recipe(written(tmp_path, text))
    assert "\n" not in caught.value.message
    assert caught.value.message.startswith(str(tmp_path / "recipe.toml"))


def test_a_check_relies_on_those_before_it() -> None:
    """The first fault is told, and nothing behind it is looked at: `width % heads` of no heads is no number."""
    impossible = Recipe(model=replace(CODEGEN_350M, heads=0, rotary=3))
    assert next(_faults(impossible)).startswith("[model] layers")
    with pytest.raises(UsageError, match="must be positive"):
        checked(impossible, "")


def test_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(CgcliError, match="No such file") as caught:
        read_recipe(tmp_path / "none.toml")
    assert caught.value.status == ExitStatus.FAILED


def test_replaced_values_are_checked() -> None:
    assert with_values(Recipe(), batch={"sequences": 8}).batch.sequences == 8
    with pytest.raises(UsageError, match="sequences 0"):
        with_values(Recipe(), batch={"sequences": 0})


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_published_recipes(path: Path) -> None:
    assert read_recipe(path).name
