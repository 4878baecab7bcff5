"""With `exact`, guards keep the promise that a seed fixes a text, whatever is drawn beside it."""

from __future__ import annotations

import json
import subprocess
import sys

from cgcli.hub.catalog import bundled_models
from tests.conftest import REPOSITORY


def test_guarded_texts_are_the_same_in_every_way() -> None:
    """In a process of its own: `exact` changes how llama.cpp multiplies from then on."""
    model = bundled_models() / "codegen-nano" / "q8_0.gguf"
    command = [sys.executable, "-m", "tests.program.guarded_exactly", str(model), "--texts", "32", "--max-tokens", "32"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    found = json.loads(done.stdout)
    assert found["texts"] == 32 and 0 < found["cut"] < 32
    assert found["again"] == found["alone"] == found["unguarded"] == 0
