"""What the cases of the engine's benchmark share: figures, models, texts, the peer, and processes of their own.

A case is a module here with `measure(rounds)`, which gives its figures. It runs in a process of its own, since what
llama.cpp and OpenMP are told holds for a whole process.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cgcli.engine.binding import llama
from cgcli.engine.engine import EngineOptions, LlamaEngine
from cgcli.engine.model import Model
from cgcli.engine.request import Completion, Request
from cgcli.engine.stops import Stops
from cgcli.engine.tokens import split_blanks
from cgcli.native import products
from cgcli.native.interrupt import Interrupt
from cgcli.native.sample import Sampling
from tests.benchmarks.checkpoint import SHAPES, prompt
from tests.benchmarks.model import model
from tests.benchmarks.report import EMBEDDED, ROOT

ENVIRONMENT = {"GOMP_SPINCOUNT": "1000"}
TOP_P = 0.95


@dataclass(frozen=True)
class Figure:
    """A line of the table. value: usually a median of ratios, ours better above 1; ours, theirs: medians, in `unit`.

    goal: what it should reach; below: where less is better.
    """

    name: str
    value: float
    goal: float | None = None
    ours: float | None = None
    theirs: float | None = None
    unit: str = "tokens/s"
    below: bool = False


def in_own_process(module: str, function: str, *arguments: object) -> Any:
    """What a function of tests.benchmarks.cases.MODULE returns, in plain values. What it says on stderr is shown."""
    command = [sys.executable, "-m", "tests.benchmarks.cases.common", module, function, json.dumps(arguments)]
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def models() -> dict[str, Path]:
    """The two that most cases run: the random one of the 350M shape, made on first use, and the embedded one."""
    return {"350M shape, Q4_0": model(SHAPES["350m"]), "embedded, Q8_0": EMBEDDED}


def is_random(path: Path) -> bool:
    """Its text is without sense, in loops of its own: guesses would be worth more than they are."""
    return "random" in path.name


def engine(path: Path, **options: Any) -> LlamaEngine:
    return LlamaEngine(path, EngineOptions(**options), interrupt=Interrupt())


def peer(path: Path, threads: int) -> Any:
    """llama-cpp-python's `Llama` on the same build of llama.cpp, with its own products."""
    from llama_cpp import Llama

    if llama().without_own_products is None:
        products.use(False)
    return Llama(str(path), n_ctx=2048, n_threads=threads, n_threads_batch=threads, verbose=False)


def peer_settings(temperature: float) -> dict[str, Any]:
    return {"temperature": temperature, "top_p": TOP_P, "top_k": 0, "min_p": 0.0}


class Texts:
    """Contexts of so many tokens: of random words for a random model, else from the standard library's source."""

    def __init__(self, model: Model, path: Path, seed: int = 0) -> None:
        self._model = model
        self._draw = np.random.default_rng(seed)
        self._random = is_random(path)
        folder = Path(sysconfig.get_paths()["stdlib"])
        self._source = b"" if self._random else b"".join(f.read_bytes() for f in sorted(folder.glob("[a-d]*.py")))

    def next(self, tokens: int) -> bytes:
        """Where real code is cut, the tokens of what is left may be one or two more or fewer."""
        if self._random:
            ids = prompt(self._draw, tokens)
        else:
            at = int(self._draw.integers(0, len(self._source) - 16 * tokens))
            at = self._source.index(b"\n", at) + 1
            ids = self._model.tokenize(self._source[at : at + 12 * tokens].decode("utf-8", "ignore").encode())[:tokens]
        return split_blanks(b"".join(map(self._model.piece, ids)))[0]


def request(context: bytes, tokens: int, temperature: float = 0.2, candidate: int = 0, seed: int = 0) -> Request:
    sampling = Sampling(temperature=temperature, top_p=TOP_P, seed=seed)
    return Request(context, sampling, Stops, max_tokens=tokens, candidate=candidate)


def drain(one: LlamaEngine, wanted: Request) -> Completion:
    stream = one.stream(wanted)
    while True:
        try:
            next(stream)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]


def timed(call: Callable[[], int]) -> float:
    """Tokens a second of a call that returns how many it drew."""
    started = time.perf_counter()
    tokens = call()
    return tokens / (time.perf_counter() - started)


def forget(one: LlamaEngine, *, but: bytes | None = None) -> None:
    """Let an engine's cache be empty, so that the next side reads its contexts itself. but: a context that stays."""
    kept = None if but is None else one.token_table.tokens(but)
    for branch in [branch for branch in one.cache.branches if branch.tokens != kept]:
        one.cache.drop(branch)


def say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    name, function, arguments = sys.argv[1:]
    module = importlib.import_module(f"tests.benchmarks.cases.{name}")
    print(json.dumps(getattr(module, function)(*json.loads(arguments))))
