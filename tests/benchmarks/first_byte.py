"""Where the time goes before the first byte of `cgcli gen`: milliseconds of processor time for each step, in its order.

    python -m tests.benchmarks.first_byte [--model FILE.gguf] [--runs N]

Every run is a process of its own that takes the steps of the command, one after the other, with compiled modules, as an
installed cgcli has them; a figure is the minimum of the runs, in all threads. Processor time says less about a busy
machine than seconds do. The last line is JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

PROMPT = b"# print the first ten square numbers\n"


def steps(model: str) -> list[tuple[str, float]]:
    """Every step, and when it was done."""
    done = [("interpreter", time.process_time())]

    def step(name: str) -> None:
        done.append((name, time.process_time()))

    import_module("cgcli.__main__")
    from cgcli.cli.main import build

    step("import the command line (Typer)")
    import typer.main

    typer.main.get_command(build("gen"))
    step("make the command")
    import_module("cgcli.app.generate")
    from cgcli.app.model import open_engine
    from cgcli.app.offer import choose_or_pull
    from cgcli.app.run import Run
    from cgcli.core.config import Settings

    step("import gen")
    run, settings = Run.from_process(), Settings(model=model)
    choice = choose_or_pull(run, settings)
    step("choose the model: catalog and store")

    for name in ("languages", "generation"):
        import_module(f"cgcli.program.{name}")
    step("import the rules of a completion")
    for name in ("program.grow", "engine.engine"):
        import_module(f"cgcli.{name}")
    step("import session and engine")
    from cgcli.engine.binding import llama
    from cgcli.engine.gguf_check import read_header
    from cgcli.native.interrupt import Interrupt

    llama()
    step("load llama.cpp")
    read_header(choice.path)
    header = time.process_time() - done[-1][1]
    step("check the model's header")
    engine = open_engine(run, settings, choice, Interrupt())
    name, at = "load the model: vocabulary, weights", time.process_time() - header  # it checks the header again
    done.append((name, at))
    begun = time.process_time()
    engine.reserve(len(PROMPT) + settings.max_tokens)
    done.append(("clear the cache", at + time.process_time() - begun))
    begun, at = time.process_time(), done[-1][1]
    engine.score(PROMPT, 2)
    done.append(("read the prompt", at + time.process_time() - begun))
    return done


def main() -> None:
    from tests.benchmarks.report import EMBEDDED, command_line, print_facts, table  # not in a run

    parser = command_line(__doc__)
    parser.add_argument("--model", type=Path, default=EMBEDDED)
    parser.add_argument("--runs", type=int, default=9)
    arguments = parser.parse_args()
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, __file__, str(arguments.model)]
        for _ in range(arguments.runs):
            environment = {**os.environ, "CGCLI_HOME": home, "FIRST_BYTE_CHILD": "1"}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            out = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
            before = 0.0
            for name, at in json.loads(out):
                found.setdefault(name, []).append(1000 * (at - before))
                before = at
    least = {name: round(min(times), 1) for name, times in found.items()}
    print(table(("", "ms"), [(name, f"{ms:.1f}") for name, ms in least.items()]))
    print_facts("first_byte", model=arguments.model.name, ms=least)


if __name__ == "__main__":
    if len(sys.argv) == 2 and os.environ.get("FIRST_BYTE_CHILD"):
        print(json.dumps(steps(sys.argv[1])))
    else:
        main()
