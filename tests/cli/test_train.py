"""`cgcli train`: what its words mean, what it says, and three stages that end in a model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cgcli.app.recipes import CONTEXT, FULL_LR, LORA_LR, LORA_RANK, Device, TrainArguments, resolve_recipe
from cgcli.core.environment import Environment
from cgcli.core.errors import CgcliError, ModelNotFound, UsageError
from cgcli.train.folder import RunFolder
from cgcli.train.recipe import Recipe, read_recipe
from tests.cli.running import cgcli
from tests.conftest import REPOSITORY
from tests.convert.checkpoints import GOLDEN
from tests.support.cli import run
from tests.support.ended import ended_at
from tests.train.tiny_run import ended, losses, started, tiny, write_recipe, write_sources

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


def test_a_run_goes_on_by_its_folder_alone(tmp_path: Path) -> None:
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


def test_without_jax_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['jax'] = None\nfrom cgcli.cli.main import main\nsys.exit(main(['train', 'x']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "cgcli: training needs JAX; pip install 'cgcli[train]'\n")


def test_a_dry_run_says_what_it_would_take_and_makes_nothing(tmp_path: Path) -> None:
    path = write_recipe(tmp_path / "tiny.toml", tiny(write_sources(tmp_path / "sources")))
    ran = cgcli("train", str(path), "-o", str(tmp_path / "out"), "--dry-run", "--json")
    assert ran.status == 0, ran.err
    facts = json.loads(ran.out)
    assert facts["parameters"] == facts["trained"] > 0
    assert facts["memory_bytes"] < facts["available_bytes"]
    assert facts["seconds"] > 0
    assert not (tmp_path / "out").exists()
    plain = cgcli("train", str(path), "-o", str(tmp_path / "out"), "--dry-run")
    assert plain.out.decode().splitlines()[0].split() == ["model", "tiny"]


def test_a_dry_run_of_what_does_not_fit_fails_with_what_would(tmp_path: Path) -> None:
    huge = Recipe(name="huge")
    huge = replace(huge, model=replace(huge.model, layers=500, width=16384, heads=64))
    ran = cgcli("train", str(write_recipe(tmp_path / "huge.toml", huge)), "--dry-run")
    assert ran.status == 1
    assert b"memory" in ran.out
    assert "training huge needs about" in ran.err.splitlines()[-1]


def test_a_dry_run_needs_no_jax(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)  # as where it is not installed
    words = ["train", "--init", str(GOLDEN), "--data", str(write_sources(tmp_path / "src", 40)), "--dry-run"]
    ran = run(*words)
    assert ran.status == 0, ran.err
    assert ran.err == "time unknown: JAX is not installed (pip install 'cgcli[train]')\n"
    assert {"model", "memory", "steps"} <= {line.split()[0] for line in ran.out.decode().splitlines()}
    facts = json.loads(run(*words, "--json").out)
    assert (facts["device"], facts["matmul_flops"], facts["seconds"]) == (None, None, None)
    assert facts["memory_bytes"] > 0 and facts["available_bytes"] > 0
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({}, "none ends in .py"),
        ({"a.py": "x = 1\n"}, "the data come to 7 tokens, less than one record of 512 tokens"),
    ],
)
def test_data_of_less_than_one_record(data: dict[str, str], told: str, dry: bool, tmp_path: Path) -> None:
    folder = tmp_path / "src"
    folder.mkdir()
    for name, text in data.items():
        (folder / name).write_text(text)
    ran = run("train", "--init", str(GOLDEN), "--data", str(folder), *["--dry-run"] * dry)
    assert ran.status == 1
    assert told in ran.err.splitlines()[-1]
    assert "Traceback" not in ran.err


def test_a_path_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    folder = write_sources(Path(os.fsdecode(bytes(tmp_path / "src") + b"\xff")), 40)
    ran = run("train", "--init", str(GOLDEN), "--data", str(folder))
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert "is not UTF-8" in ran.err


@pytest.mark.parametrize(
    ("step", "number", "expected"),
    [
        ("write_texts", signal.SIGINT, 130),
        pytest.param("_pack", signal.SIGTERM, 143, marks=pytest.mark.long),
        pytest.param("_pack", signal.SIGHUP, 129, marks=pytest.mark.long),
    ],
)
def test_a_signal_while_data_are_prepared_leaves_what_the_next_run_goes_on_with(
    step: str, number: signal.Signals, expected: int, tmp_path: Path
) -> None:
    recipe = write_recipe(tmp_path / "tiny.toml", tiny(write_sources(tmp_path / "sources")))
    out, scratch = tmp_path / "out", tmp_path / "tmp"
    scratch.mkdir()
    variables = {"JAX_PLATFORMS": "cpu", "TMPDIR": str(scratch)}
    ran = ended_at(f"cgcli.train.prepare.{step}", number, "train", str(recipe), "-o", str(out), **variables)
    assert ran.status == expected
    assert list(scratch.iterdir()) == []
    assert "Traceback" not in ran.err
    assert ran.err.splitlines()[-1] == f"cgcli: interrupted; type: cgcli train -o {out}"
    assert sorted(one.name for one in out.iterdir()) == [".lock", "checkpoints", "recipe.toml"]


@pytest.mark.long
def test_three_stages_end_in_a_model_that_writes(tmp_path: Path) -> None:
    """NL, then Multi, then Mono: each begins with the weights of the one before and its own optimizer."""
    prose = write_sources(tmp_path / "prose", word="word")
    code = write_sources(tmp_path / "code", word="step")
    mono = write_sources(tmp_path / "mono", word="item")
    stages: list[Path] = []
    for name, data in (("nl", prose), ("multi", code), ("mono", mono)):
        out = tmp_path / name
        recipe = tiny(data)
        words: list[str | Path] = [write_recipe(tmp_path / f"{name}.toml", recipe), "-o", out, "--json"]
        if stages:
            words += ["--init", stages[-1] / "export", "--tokenizer", stages[-1] / "export"]
        if name == "mono":
            words += ["--export", "tiny-mono"]
        status, stdout, err = ended(started(*words))
        assert status == 0, err
        facts = json.loads(stdout)
        assert facts["export"] == str(out / "export")
        stages.append(out)
    first = [losses(out) for out in stages]
    assert first[1][1] < first[0][1] - 1  # it knows something already
    assert first[2][1] < first[0][1] - 1
    assert first[2][20] < first[2][1]
    assert facts["model"] == "tiny-mono:q8_0"
    wrote = cgcli("gen", "-m", "tiny-mono", "--raw", "--max-tokens", "8", "def item_1_1")
    assert wrote.status == 0, wrote.err
    # The same command again exports again, under the same name.
    status, stdout, err = ended(started("-o", stages[-1], "--export", "tiny-mono", "--json"))
    assert status == 0, err
    assert json.loads(stdout)["loss"] is None
    taken = cgcli("train", "-o", str(stages[0]), "--export", "tiny-mono")
    assert (taken.status, "a model named tiny-mono already exists" in taken.err) == (2, True)
