"""Loads each GGUF named on standard input and runs a pass: `<path>: ok` or `<path>: <error>`, a line each.

A process of its own, so that a test can see whether llama.cpp brought it down, and on which file.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cgcli.core.errors import CgcliError
from cgcli.engine.context import Context
from cgcli.engine.model import Model


def attempt(path: Path) -> str:
    try:
        with Model.load(path) as model:
            tokens = model.tokenize(b"this is \xe4\xf6 text\n\t of 0x12 words <|endoftext|>")
            assert all(0 <= token < model.n_vocab for token in tokens)
            _ = [model.piece(token) for token in range(model.n_vocab)]
            with Context(model, n_ctx=256, n_batch=64, threads=1) as context:
                context.decode(tokens or [0])
                context.decode([0], at=len(tokens or [0]))
                assert context.logits(0).shape == (model.n_vocab,)
    except CgcliError as error:
        assert "\n" not in error.message
        return f"refused: {error.message}"
    return "ok"


for line in sys.stdin:
    name = line.rstrip("\n")
    print(f"{name}: begun", flush=True)
    print(f"{name}: {attempt(Path(name))}", flush=True)
