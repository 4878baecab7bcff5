"""`cgcli train`: what it says, and three stages that end in a model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cgcli.core.extras import packages
from cgcli.train.recipe import Recipe
from tests.convert.checkpoints import GOLDEN
from tests.support.cli import run
from tests.support.ended import ended_at
from tests.support.process import cgcli
from tests.train.tiny_run import ended, losses, started, tiny, write_recipe, write_sources


def test_without_jax_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['jax'] = None\nfrom cgcli.cli.main import main\nsys.exit(main(['train', 'x']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        f"cgcli: training needs JAX; {sys.executable} -m pip install {packages('train')}\n",
    )


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
    assert (
        ran.err
        == f"time unknown: JAX is not installed; to install it: {sys.executable} -m pip install {packages('train')}\n"
    )
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
