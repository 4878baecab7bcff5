"""`cgcli gen --if-changed`: a program is drawn from the first prompt that changed on, for make."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import run
from tests.support.process import Ran
from tests.support.tiny_model import write_tiny_model

SHORT = ("--max-tokens", "12", "-t", "1", "--guard", "off", "--exact")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "prog.py"


def update(model: Path, file: Path, prompts: str, *arguments: str, seed: str | None = "3") -> Ran:
    listed = file.with_suffix(".txt")
    listed.write_text(prompts.replace(" ", "\n"))
    seeded = ("--seed", seed) if seed else ()
    return run("gen", "-m", str(model), "-f", str(listed), "-o", str(file), "--if-changed", *SHORT, *seeded, *arguments)


def all_anew(model: Path, prompts: str, *arguments: str) -> str:
    ran = run("gen", "-m", str(model), *prompts.split(), "--no-stdin", "--seed", "3", *SHORT, *arguments)
    return ran.out.decode()


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        ("one two three", "one two 3", "kept 2 turns of 3"),
        ("one two three", "one 2 three", "kept 1 turn of 3"),
        ("one two", "one two three", "kept 2 turns of 2"),
        ("one two", "0 two", "kept 0 turns of 2"),
        ("one two three", "one", "kept 1 turn of 3"),
    ],
)
@pytest.mark.parametrize("stamp", [(), ("--stamp", "--no-log")], ids=["log", "stamp"])
def test_what_did_not_change_is_kept(
    tiny_model: Path, file: Path, before: str, after: str, kept: str, stamp: tuple[str, ...]
) -> None:
    update(tiny_model, file, before, *stamp)
    ran = update(tiny_model, file, after, *stamp)
    assert ran.status == 0 and kept in ran.err, ran.err
    assert f"{file.read_text()}# ".startswith(all_anew(tiny_model, after))
    assert "up to date" in update(tiny_model, file, after, *stamp).err
    assert f": {len(after.split())} turn" in run("replay", str(file)).err


def test_another_start_of_the_code_is_a_change(tiny_model: Path, file: Path) -> None:
    update(tiny_model, file, "one", "--start", "a = ")
    assert "kept 0 turns of 1" in update(tiny_model, file, "one", "--start", "b = ").err
    assert "up to date" in update(tiny_model, file, "one", "--start", "b = ").err
    assert "the same, byte for byte" in run("replay", str(file)).err


def test_nothing_is_loaded_where_nothing_changed(tiny_model: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    update(tiny_model, file, "one two", seed=None)
    os.utime(file, (0, 0))
    monkeypatch.setattr("cgcli.app.generate.Opening", None)
    text = file.read_text()
    ran = update(tiny_model, file, "one two", seed=None)
    assert ran.status == 0 and ran.err == f"{file} is up to date\n"
    assert file.read_text() == text and file.stat().st_mtime > 0  # for make
    assert "turn" not in update(tiny_model, file, "one", seed=None).err.replace("kept 1 turn of 2", "")


@pytest.mark.parametrize(
    ("option", "name"),
    [
        (("-t", "0.9"), "temperature differs: it was 1.0, and is 0.9"),
        (("--top-p", "0.5"), "top_p"),
        (("--top-k", "7"), "top_k"),
        (("--min-p", "0.2"), "min_p"),
        (("--max-tokens", "9"), "max_tokens"),
        (("--seed", "4"), "seed"),
        (("--stop", "q"), "stop"),
        (("-n", "2", "--pick", "probable"), "candidates"),
        (("--guard", "on"), "the Python of the guards"),
        (("--prefix", "import os\n"), "begins differently"),
        (("--no-comment",), "begins differently"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_setting_that_changed_draws_all_again(
    tiny_model: Path, file: Path, option: tuple[str, ...], name: str
) -> None:
    update(tiny_model, file, "one two")
    ran = update(tiny_model, file, "one two", *option)
    assert ran.status == 0 and name in ran.err and "all turns are written again" in ran.err
    assert file.read_text() == all_anew(tiny_model, "one two", *option)


def test_a_model_that_changed_draws_all_again(tmp_path: Path, file: Path) -> None:
    model = write_tiny_model(tmp_path / "one.gguf", seed=1)
    update(model, file, "one two")
    shutil.copy(write_tiny_model(tmp_path / "two.gguf", seed=2), model)
    ran = update(model, file, "one two")
    assert "the model's file differs" in ran.err and file.read_text() == all_anew(model, "one two")


def test_a_file_that_was_changed_by_hand_is_not_overwritten(tiny_model: Path, file: Path) -> None:
    update(tiny_model, file, "one")
    file.write_text(file.read_text() + "mine = 1\n")
    ran = update(tiny_model, file, "two")
    assert ran.status == 1 and "was changed since run 1 wrote it; delete it to start over" in ran.err
    assert file.read_text().endswith("mine = 1\n")


def test_it_needs_a_file(tiny_model: Path, file: Path) -> None:
    for arguments in (("x",), ("x", "--into", str(file)), ("x", "--json", "-o", str(file)), ("--raw", "-o", str(file))):
        assert run("gen", "-m", str(tiny_model), "--if-changed", *arguments).status == 2


def test_a_rule_of_make_draws_only_what_changed(tiny_model: Path, tmp_path: Path) -> None:
    make = shutil.which("make")
    assert make
    options = " ".join((*SHORT, "--seed 3"))
    gen = f"{sys.executable} -m cgcli gen -m {tiny_model} {options}"
    (tmp_path / "Makefile").write_text(f"%.py: %.txt\n\t{gen} -f $< -o $@ --if-changed\n")
    prompts = tmp_path / "prog.txt"

    def build() -> str:
        where = {**os.environ, "PYTHONPATH": str(Path.cwd())}
        done = subprocess.run([make, "prog.py"], cwd=tmp_path, env=where, capture_output=True, text=True, check=True)
        return done.stderr + done.stdout

    prompts.write_text("one\ntwo\n")
    assert "seed 3" in build() and "up to date" in build()
    prompts.write_text("one\nthree\n")
    os.utime(prompts, (2**31, 2**31))
    assert "kept 1 turn of 2" in build()
    os.utime(prompts)
    os.utime(tmp_path / "prog.py", (1, 1))
    assert "prog.py is up to date\n" in build() and "'prog.py' is up to date" in build()
