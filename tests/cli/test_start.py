"""`cgcli gen --start`, and the hint that names it."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest

from cgcli.program.languages import looks_like_code
from tests.support.cli import run as cgcli

START = "def add(first, second):"
QUICK = ("--seed", "1", "--max-tokens", "40")


@pytest.fixture
def model(bundled_model: Path) -> tuple[str, ...]:
    return ("-m", str(bundled_model), *QUICK)


def test_the_code_begins_with_the_text_and_goes_on_behind_it(model: tuple[str, ...]) -> None:
    done = cgcli("gen", "add two numbers", "--start", START, *model)
    assert done.status == 0, done.err
    head, _, code = done.out.decode().partition("# add two numbers\n")
    assert head.startswith("#!") and code.startswith(f"{START}\n    ")
    compile(code, "code", "exec")


@pytest.mark.parametrize("more", [(), ("-n", "3"), ("--until", "runs", "--unsafe")])
def test_the_json_has_the_start_and_every_candidate_begins_with_it(
    model: tuple[str, ...], more: tuple[str, ...]
) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    done = cgcli("gen", "add two numbers", "--start", START, "--json", *more, *model)
    facts = json.loads(done.out)
    jsonschema.validate(facts, json.loads((files("cgcli.program") / "gen.schema.json").read_text()))
    (turn,) = facts["turns"]
    assert turn["start"] == START and turn["completion"].startswith(START)
    assert all(one["text"].startswith(START) and one["kept"] == len(START) for one in turn["candidates"])


def test_a_file_goes_on_and_a_program_may_begin_without_a_prompt(model: tuple[str, ...]) -> None:
    done = cgcli("gen", "--start", "    total = ", *model, stdin=b"def add(first, second):\n")
    assert done.out.startswith(b"    total = ") and len(done.out) > len("    total = ")
    assert cgcli("gen", "--start", START, *model).out.startswith(b"#!/usr/bin/env python3\n\ndef add(first, second):")


def test_it_is_for_a_single_prompt(model: tuple[str, ...]) -> None:
    done = cgcli("gen", "x", "y", "--start", START, *model)
    assert done.status == 2 and "--start is for a single prompt, not for 2" in done.err and not done.out


@pytest.mark.parametrize("more", [(), ("-n", "3")])
def test_it_can_be_replayed(model: tuple[str, ...], more: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "add.py"
    assert cgcli("gen", "add two numbers", "--start", START, "-o", str(file), *more, *model).status == 0
    done = cgcli("replay", str(file))
    assert (done.status, done.err.splitlines()[-1]) == (0, "the same, byte for byte: 1 turn"), done.err


def test_a_prompt_that_is_code_gets_a_hint(model: tuple[str, ...]) -> None:
    hint = f"the prompt looks like code, and becomes a comment; to begin with it: --start '{START}'\n"
    assert hint in cgcli("gen", START, *model).err
    assert "--start" not in cgcli("gen", "add two numbers", *model).err
    assert "--start" not in cgcli("gen", START, "--lang", "ruby", *model).err


@pytest.mark.parametrize("code", ["def f(x):", "class A", "import csv", "x = 1", "for i in x:", "print(x)", "x.sort()"])
def test_code(code: str) -> None:
    assert looks_like_code(code) == (code != "class A")


@pytest.mark.parametrize(
    "words",
    ["sort", "print the sum", "not found", "import a csv file", "note: this", "x is y", "fib(n) in a loop", "1"],
)
def test_words(words: str) -> None:
    assert not looks_like_code(words)
