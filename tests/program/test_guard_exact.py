"""With `exact`, guards keep the promise that a seed fixes a text, whatever is drawn beside it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cgcli.hub.catalog import bundled_models
from tests.conftest import REPOSITORY


@pytest.mark.parametrize("texts", [16, pytest.param(64, marks=pytest.mark.long)])
def test_guarded_texts_are_the_same_in_every_way(texts: int) -> None:
    """In a process of its own: `exact` changes how llama.cpp multiplies from then on."""
    model = bundled_models() / "codegen-nano" / "q8_0.gguf"
    command = [
        sys.executable,
        "-m",
        "tests.program.guarded_exactly",
        str(model),
        "--texts",
        str(texts),
        "--max-tokens",
        "24",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    found = json.loads(done.stdout)
    assert found["texts"] == texts and 0 < found["cut"] < texts
    assert found["again"] == found["alone"] == found["unguarded"] == 0
