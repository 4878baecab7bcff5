"""Where the time goes before the first byte of `cgcli gen`: milliseconds for each step, in its order.

    python -m tests.benchmarks.first_byte [--model FILE.gguf] [--runs N] [--write]

Every run is a process of its own that takes the steps of the command, with compiled modules, as an installed cgcli has
them. A figure is the minimum of the runs: elapsed, and processor time in all threads, which says less about a busy
machine. The model loads on a thread of its own from where its step says so. Then the command itself, in turn with and
without guards, which hold the first line back until it is whole. The last line is JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib import import_module
from pathlib import Path

PROMPT = "print the first ten square numbers"
BEGUN = "FIRST_BYTE_BEGUN"  # in the environment of a child: when it was started, on the clock of all processes
COMMAND = "make bench BENCH=first_byte"


def steps(model: str) -> list[tuple[str, float, float]]:
    """Every step, and when it was done: seconds elapsed and of processor time."""
    begun, done = float(os.environ[BEGUN]), list[tuple[str, float, float]]()

    def step(name: str) -> None:
        done.append((name, time.perf_counter() - begun, time.process_time()))

    step("interpreter")
    import_module("cgcli.__main__")
    from cgcli.cli.main import build

    step("import the command line (Typer)")
    import typer.main

    typer.main.get_command(build("gen"))
    step("make the command")
    import_module("cgcli.app.generate")
    from cgcli.app.model import Opening, Use
    from cgcli.app.offer import choose_or_pull
    from cgcli.app.run import Run
    from cgcli.core.config import Settings

    step("import gen")
    run, settings = Run.from_process(), Settings(model=model)
    choice = choose_or_pull(run, settings)
    step("choose the model: catalog and store")
    from cgcli.engine.binding import llama

    llama()
    step("load llama.cpp")
    opening = Opening(run, settings, choice)
    step("check the model's header, begin to load")
    for name in ("program.languages", "program.generation", "program.run_log", "program.grow", "engine.engine"):
        import_module(f"cgcli.{name}")
    step("import the rest meanwhile")
    with opening.engine(Use()) as engine:
        step("wait for the model: vocabulary, weights")
        text = f"# {PROMPT}\n".encode()
        engine.reserve(len(text) + settings.max_tokens)
        step("clear the cache")
        engine.score(text, 2)
        step("read the prompt")
        return done


def least(model: Path, home: str, runs: int) -> dict[str, tuple[float, float]]:
    """Milliseconds of each step, elapsed and of processor time: the minima of the runs."""
    found: dict[str, list[tuple[float, float]]] = {}
    command = [sys.executable, __file__, str(model)]
    for _ in range(runs):
        environment = {**os.environ, "CGCLI_HOME": home, BEGUN: str(time.perf_counter())}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        out = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        before = (0.0, 0.0)
        for name, *at in json.loads(out):
            found.setdefault(name, []).append((1000 * (at[0] - before[0]), 1000 * (at[1] - before[1])))
            before = (at[0], at[1])
    return {name: (min(one[0] for one in times), min(one[1] for one in times)) for name, times in found.items()}


def main() -> None:
    from tests.benchmarks.first_token import seconds_to_first_byte  # not in a child
    from tests.benchmarks.report import EMBEDDED, command_line, measured, medians, print_facts, publish, table

    parser = command_line(__doc__, writes=True)
    parser.add_argument("--model", type=Path, default=EMBEDDED)
    parser.add_argument("--runs", type=int, default=11)
    arguments = parser.parse_args()
    model, runs = arguments.model.resolve(), arguments.runs
    with tempfile.TemporaryDirectory() as home:
        found = least(model, home, runs)
        environment = {**os.environ, "CGCLI_HOME": home}
        gen = [sys.executable, "-m", "cgcli", "gen", "-m", str(model), "--seed", "1", "--no-stdin", "--no-log", PROMPT]
        sides = {"first byte of `gen --guard off`": [*gen, "--guard", "off"], "first byte of `gen`": gen}
        whole = medians(
            measured({name: partial(seconds_to_first_byte, side, environment) for name, side in sides.items()}, runs)
        )
    rows = [(name, f"{elapsed:.0f}", f"{processor:.0f}") for name, (elapsed, processor) in found.items()]
    rows += [(f"{name}, median", f"{1000 * elapsed:.0f}", "") for name, elapsed in whole.items()]
    text = table(("", "ms elapsed", "ms of processor time"), rows)
    publish(COMMAND, text, f"{model.parent.name} {model.stem}, {runs} runs", write=arguments.write)
    print_facts("first_byte", model=model.name, ms=found, first_byte_s=whole)


if __name__ == "__main__":
    if len(sys.argv) == 2 and BEGUN in os.environ:
        print(json.dumps(steps(sys.argv[1])))
    else:
        main()
