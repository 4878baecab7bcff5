"""With `exact`, a text and its log-probability are the same bits alone, after others, and beside others with guesses:
for every quantization, with contexts on both sides of the lengths where llama.cpp's arithmetic changes its path."""

from __future__ import annotations

import argparse
import ast
import json
import random
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cgcli.engine.quantize import QUANTS, quantize_here
from tests.conftest import REPOSITORY
from tests.support.tiny_model import write_tiny_model


def ways(models: Sequence[Path], contexts: list[str], max_tokens: int, fresh: int) -> list[dict[str, Any]]:
    given = json.dumps({"contexts": contexts, "max_tokens": max_tokens, "fresh": fresh})
    command = [sys.executable, "-m", "tests.engine.exact_completions", *map(str, models)]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    return [json.loads(line) for line in done.stdout.splitlines()]


def differences(found: dict[str, Any]) -> list[int]:
    """Indices of the requests that did not come out the same in every way."""
    return [
        index
        for index, (apart, together, alone, followed) in enumerate(
            zip(found["apart"], found["together"], found["alone"], found["followed"], strict=True)
        )
        if not apart == together == (alone or apart) == followed
    ]


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A random model wide enough for k-quants, in every quantization."""
    folder = tmp_path_factory.mktemp("quants")
    source = write_tiny_model(folder / "f16.gguf", width=256)
    for quant in QUANTS:
        if quant != "f16":
            quantize_here(source, folder / f"{quant}.gguf", quant, threads=2)
    return [folder / f"{quant}.gguf" for quant in QUANTS]


def test_every_quantization_is_exact(quantized: list[Path]) -> None:
    draw = random.Random(3)
    text = "".join(draw.choices("abcdefgh \n()", k=1200))
    contexts = [text[: size + index] + "x" for index, size in enumerate([3, 40, 200, 700, 200, 1100, 600, 700])]
    found = ways(quantized, contexts, 10, 3)
    broken = {quant: wrong for quant, one in zip(QUANTS, found, strict=True) if (wrong := differences(one))}
    assert not broken and all(one["cut"] for one in found)


def sources(characters: int) -> tuple[str, str]:
    """A short beginning of a real file of code, and one of so many characters."""
    text = Path(argparse.__file__).read_text()
    return textwrap.dedent(ast.__doc__ or "")[:200], text[text.index("class HelpFormatter") :][:characters]


@pytest.mark.parametrize(
    ("model", "characters"),
    [("bundled_model", 2400), pytest.param("embedded_model", 2800, marks=pytest.mark.long)],
)
def test_twenty_texts_of_a_real_model_are_exact(model: str, characters: int, request: pytest.FixtureRequest) -> None:
    """Half of them continue more than 600 tokens, half are drawn at temperature 0."""
    ends = ["", "\n\n\ndef ", "\nclass A", "\n    def add(self, ", "\nimport "]
    heads = sources(characters)
    contexts = [head + end + extra for head in heads for end in ends for extra in ("x", "self.y = ")]
    assert len(contexts) == 20
    (found,) = ways([request.getfixturevalue(model)], contexts, 7, 10)
    assert differences(found) == [] and found["kept"] > 0 and found["cut"] > 10
