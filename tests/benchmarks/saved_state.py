"""Reading a text again, beside saving and loading the state of the one that was read before.

    python -m tests.benchmarks.saved_state [--shapes S ...] [--rounds N] [--write]

For texts of 500 and 2,000 tokens of the standard library: seconds of processor time, in all threads, to read one, to
save its state to a file and to load it, in turn in each round, minima of the rounds; the file is in the page cache. The
models are the embedded one and random ones of the shapes. The last line is JSON.
"""

from __future__ import annotations

import inspect
import itertools
import math
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

from cgcli.engine.engine import EngineOptions, LlamaEngine
from cgcli.engine.request import Request
from cgcli.engine.stops import Stops
from cgcli.native.interrupt import Interrupt, interruptible
from cgcli.native.sample import Sampling
from tests.benchmarks.checkpoint import SHAPES
from tests.benchmarks.model import model
from tests.benchmarks.report import EMBEDDED, command_line, print_facts, publish, table

COMMAND = "make bench BENCH=saved_state"
TOKENS = (500, 2000)


def draw(engine: LlamaEngine, text: bytes) -> None:
    """Read a text and draw a token."""
    list(engine.complete([Request(text, Sampling(0), Stops, 1)]))


def seconds(call: Callable[[], object]) -> float:
    """Of processor time, in all threads."""
    started = time.process_time()
    call()
    return time.process_time() - started


def measure(path: Path, tokens: int, file: Path, interrupt: Interrupt) -> tuple[float, float, float]:
    """Seconds to read, to save and to load a text; the last two are NaN for a state that is too large to be saved."""
    with LlamaEngine(path, EngineOptions(), interrupt=interrupt) as engine:
        ids = engine.tokens(inspect.getsource(textwrap).encode() * 4)[:tokens]
        text = b"".join(map(engine.model.piece, ids)).rstrip()
        engine.reserve(len(ids) + 64)
        draw(engine, b"# warm up")
        read = seconds(lambda: draw(engine, text))
        file.unlink(missing_ok=True)
        save = seconds(lambda: engine.save_state(text, file, model="x"))
    if not file.exists():
        return read, math.nan, math.nan
    with LlamaEngine(path, EngineOptions(), interrupt=interrupt) as engine:
        engine.reserve(len(ids) + 64)
        draw(engine, b"# warm up")
        load = seconds(lambda: engine.load_state(file, model="x"))
        before = engine.timings.prefill_tokens
        draw(engine, text)
        assert engine.timings.prefill_tokens - before < 64
    return read, save, load


def main() -> None:
    parser = command_line(__doc__, writes=True)
    parser.add_argument("--shapes", nargs="*", choices=SHAPES, default=["350m"])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    models = {EMBEDDED.parent.name: EMBEDDED, **{shape: model(SHAPES[shape]) for shape in arguments.shapes}}
    rows = []
    with tempfile.TemporaryDirectory() as folder, interruptible() as interrupt:
        file = Path(folder, "x.state")
        for (name, path), tokens in itertools.product(models.items(), TOKENS):
            rounds = [measure(path, tokens, file, interrupt) for _ in range(arguments.rounds)]
            read, save, load = map(min, zip(*rounds, strict=True))
            size = file.stat().st_size / 1e6 if file.exists() else math.nan
            numbers = [f"{read:.3f}", f"{save:.3f}", f"{load:.3f}", f"{size:.0f}", f"{read / load:.0f}"]
            rows.append([name, str(tokens), *("–" if number == "nan" else number for number in numbers)])
    text = table(("", "tokens", "read, s", "save, s", "load, s", "MB", "read / load"), rows)
    publish(COMMAND, text, f"processor time, minima of {arguments.rounds}", write=arguments.write)
    print_facts("saved_state", rows=rows)


if __name__ == "__main__":
    main()
