"""The bundled model from end to end: checkpoint, GGUF, store, program, with nothing pulled and no network.

What it writes at temperature 0 is in nano.txt, byte for byte. After a wanted change (another training):

    cgcli gen -m codegen-nano -t 0 --exact PROMPTS... > tests/e2e/nano.txt
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from cgcli.hub.catalog import bundled_models
from tests.bundle import NAME, made
from tests.support.process import cgcli
from tests.train.tiny_run import ended, started, write_sources

GOLDEN = Path(__file__).with_name("nano.txt")
BUNDLED = bundled_models() / NAME
# Where its choices are clear: by more than a logit, which no processor's rounding turns.
PROMPTS = ('Set text to "hello world".', "Print text in upper case.", "Print the length of text.")


@pytest.mark.long
def test_it_is_fine_tuned_and_knows_the_code_better(tmp_path: Path) -> None:
    sources, out = write_sources(tmp_path / "sources", files=40), tmp_path / "out"
    words = ("--init", NAME, "--data", sources, "--steps", "20", "-o", out, "--export", "mine")
    status, _, err = ended(started(*words))
    assert status == 0 and 'cgcli gen -m mine "..."' in err, err
    text = (sources / "module_0.py").read_bytes()
    before, after = (json.loads(cgcli("score", "-", "-m", name, "--json", stdin=text).out) for name in (NAME, "mine"))
    assert after["perplexity"] < 0.5 * before["perplexity"]


def written(model: str, *words: str) -> bytes:
    done = cgcli("gen", "-m", model, "-t", "0", "--exact", *words, *PROMPTS, HF_HUB_OFFLINE="1")
    assert done.status == 0, done.err
    return done.out


def test_the_file_in_the_box_is_what_its_checkpoint_becomes(tmp_path: Path) -> None:
    made(BUNDLED / "checkpoint", tmp_path / "again.gguf")
    assert (tmp_path / "again.gguf").read_bytes() == (BUNDLED / "q8_0.gguf").read_bytes()


def test_from_the_checkpoint_to_a_program(tmp_path: Path) -> None:
    file = tmp_path / "mine.gguf"
    done = cgcli("convert", str(BUNDLED / "checkpoint"), "--quant", "q8_0", "-o", str(file), "--json")
    assert done.status == 0, done.err
    # A token of 4,096 is a close call more often than one of 51,200 that has seen the world.
    assert json.loads(done.out)["verification"]["argmax_agreement"] > 0.95
    assert cgcli("models", "add", str(file), "--name", "mine").status == 0
    assert cgcli("models", "verify", "mine").status == 0
    assert written("mine") == GOLDEN.read_bytes()


def test_a_turn_that_does_not_parse_is_named() -> None:
    # Half of the turns at temperature 1 are such; the guard would draw them again.
    prompts = ("read the names of the files in the current directory", "keep those that end in .py")
    for seed in range(20):
        done = cgcli("gen", "-m", NAME, "--seed", str(seed), "-t", "1", "--guard", "off", *prompts)
        said = re.search(r"turn \d does not parse; try another --seed or -n 8", done.err)
        try:
            ast.parse(done.out)
        except SyntaxError:
            assert said
            return
        assert not said
    pytest.fail("all of them parse")


@pytest.mark.parametrize("draft", ["off", "ngram", NAME])
def test_with_nothing_pulled_it_writes_a_program(draft: str) -> None:
    program = written(NAME, "--draft", draft)
    assert program == GOLDEN.read_bytes()
    ast.parse(program)
    assert all(f"# {prompt}\n".encode() in program for prompt in PROMPTS)
