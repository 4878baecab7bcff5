"""From the command line of `cgcli train` to a recipe and a folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cgcli.app.recipes import CONTEXT, FULL_LR, LORA_LR, LORA_RANK, Device, TrainArguments, resolve_recipe
from cgcli.core.config import Environment
from cgcli.core.errors import CgcliError, ModelNotFound, UsageError
from cgcli.train.folder import RunFolder
from cgcli.train.recipe import Recipe, read_recipe
from tests.conftest import REPOSITORY
from tests.train.tiny_run import tiny, write_recipe, write_sources

PLENTY = Device("gpu", 1 << 40)
SMALL = Device("cpu", 3_500_000_000)


def environment(tmp_path: Path) -> Environment:
    return Environment.from_process({"CGCLI_HOME": str(tmp_path / "home")})


def chosen(arguments: TrainArguments, tmp_path: Path, device: Device = PLENTY) -> tuple[Recipe, Path, list[str]]:
    notes: list[str] = []
    recipe, out = resolve_recipe(arguments, environment(tmp_path), lambda: device, notes.append)
    return recipe, out, notes


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder that says it is CodeGen 350M, without weights."""
    folder = tmp_path / "codegen-350M"
    folder.mkdir()
    config = {
        "model_type": "codegen",
        "n_layer": 20,
        "n_embd": 1024,
        "n_head": 16,
        "rotary_dim": 32,
        "vocab_size": 51200,
        "n_positions": 2048,
        "layer_norm_epsilon": 1e-5,
        "activation_function": "gelu_new",
        "tie_word_embeddings": False,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_a_recipe_is_taken_with_what_the_flags_change(tmp_path: Path) -> None:
    sources = write_sources(tmp_path / "sources")
    path = write_recipe(tmp_path / "tiny.toml", tiny(Path("sources")))
    recipe, out, notes = chosen(TrainArguments(str(path), steps=1, seed=7, lora=4), tmp_path)
    assert recipe.data.paths == (str(sources),)  # from beside the recipe
    assert (recipe.optimizer.steps, recipe.optimizer.warmup) == (1, 1)
    assert (recipe.compute.seed, recipe.lora.rank) == (7, 4)
    assert (out, notes) == (environment(tmp_path).data / "train" / "tiny", [])
    other = write_sources(tmp_path / "other")
    recipe, out, _ = chosen(TrainArguments(str(path), data=(other,), tokenizer=other, output=tmp_path / "o"), tmp_path)
    assert (recipe.data.paths, recipe.data.packages, recipe.data.tokenizer) == ((str(other),), "", str(other))
    assert out == tmp_path / "o"


def test_the_recipes_that_came_with_it_are_known_by_name(tmp_path: Path) -> None:
    for file in (REPOSITORY / "models" / "recipes").glob("*.toml"):
        if file.stem.endswith("-packages"):
            with pytest.raises(UsageError, match="no recipe"):
                chosen(TrainArguments(file.stem), tmp_path)
            continue
        recipe, _, _ = chosen(TrainArguments(file.stem), tmp_path)
        assert recipe.name == read_recipe(file).name


def test_a_run_resumes_with_its_folder_alone(tmp_path: Path) -> None:
    recipe = tiny(write_sources(tmp_path / "sources"))
    with RunFolder(tmp_path / "out").held(recipe):
        pass
    assert chosen(TrainArguments(output=tmp_path / "out"), tmp_path)[:2] == (recipe, tmp_path / "out")
    longer, _, _ = chosen(TrainArguments(output=tmp_path / "out", steps=99), tmp_path)
    assert longer == replace(recipe, optimizer=replace(recipe.optimizer, steps=99))


def test_fine_tuning_trains_all_weights_where_memory_carries_them(checkpoint: Path, tmp_path: Path) -> None:
    data = write_sources(tmp_path / "src")
    arguments = TrainArguments(init=str(checkpoint), data=(data,))
    recipe, out, notes = chosen(arguments, tmp_path, PLENTY)
    assert (recipe.lora.rank, recipe.optimizer.lr, recipe.compute.dtype, notes) == (0, FULL_LR, "bfloat16", [])
    assert (recipe.name, out.name) == ("codegen-350M-tuned", "codegen-350M-tuned")
    assert (recipe.init, recipe.data.tokenizer) == (str(checkpoint), str(checkpoint))
    assert (recipe.model.layers, recipe.model.context) == (20, CONTEXT)
    assert recipe.batch.accumulate == 1


def test_fine_tuning_trains_adapters_where_it_does_not_and_says_so(checkpoint: Path, tmp_path: Path) -> None:
    arguments = TrainArguments(init=str(checkpoint), data=(write_sources(tmp_path / "src"),))
    recipe, _, notes = chosen(arguments, tmp_path, SMALL)
    assert (recipe.lora.rank, recipe.optimizer.lr, recipe.compute.dtype) == (LORA_RANK, LORA_LR, "float32")
    assert len(notes) == 1
    assert "all weights would need about" in notes[0] and "--full" in notes[0]
    told, _, notes = chosen(replace(arguments, full=True), tmp_path, SMALL)
    assert (told.lora.rank, notes) == (0, [])
    told, _, notes = chosen(replace(arguments, lora=3), tmp_path, PLENTY)
    assert (told.lora.rank, told.optimizer.lr, notes) == (3, LORA_LR, [])


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        (TrainArguments(), UsageError, "nothing to train"),
        (TrainArguments("nothing"), UsageError, "no recipe nothing"),
        (TrainArguments("x", full=True, lora=2), UsageError, "--full and --lora cannot be used together"),
        (TrainArguments(init="./none", data=(Path(),)), UsageError, "no such folder"),
        (
            TrainArguments(init="codegen-350m-mono", data=(Path(),)),
            ModelNotFound,
            "cgcli pull codegen-350m-mono --keep",
        ),
        (TrainArguments(init="smollm2-135m", data=(Path(),)), ModelNotFound, "is a GGUF; training needs a checkpoint"),
        (TrainArguments(init="codegen-350m-momo", data=(Path(),)), ModelNotFound, "did you mean codegen-350m-mono"),
        (TrainArguments(init=".", data=()), UsageError, "needs data to train on"),
    ],
)
def test_words_that_mean_nothing_are_refused(
    arguments: TrainArguments, error: type[CgcliError], told: str, tmp_path: Path
) -> None:
    with pytest.raises(error) as raised:
        chosen(arguments, tmp_path)
    assert told in raised.value.line
