"""From Enter in the shell to the REPL's first prompt, the model loading meanwhile; beside Python's own start.

    python -m tests.benchmarks.repl_start [--rounds N]

In a pseudo-terminal, with the embedded model. `until it answers`: to the end of a first turn of one token, which waits
for the model. The last line is JSON.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.benchmarks.report import command_line, measured, medians, print_facts, publish, seconds, table
from tests.conftest import TEST_HOME
from tests.support.process import CGCLI
from tests.support.pseudo_terminal import pseudo_terminal

COMMAND = "make bench BENCH=repl_start"


def started(folder: Path) -> tuple[float, float]:
    """Seconds to the prompt, and to the second one after a turn of one token."""
    begin = time.perf_counter()
    command = (*CGCLI, "repl", "--seed", "1", "--max-tokens", "1")
    with pseudo_terminal(*command, CGCLI_HOME=str(folder)) as terminal:
        terminal.wait(lambda: "1 ›" in terminal.text)
        prompt = time.perf_counter() - begin
        terminal.send("a list with ten numbers\r")
        terminal.wait(lambda: "2 ›" in terminal.text)
        return prompt, time.perf_counter() - begin


def main() -> None:
    parser = command_line(__doc__, writes=True)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    rounds = arguments.rounds
    python = [sys.executable, "-c", "import typer, prompt_toolkit"]
    prompts: list[float] = []

    def answered(folder: Path) -> float:
        prompt, answer = started(folder)
        prompts.append(prompt)
        return answer

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "store").symlink_to(TEST_HOME / "store")
        sides = {
            "until it answers": partial(answered, folder),
            "python, importing typer and prompt_toolkit": partial(seconds, partial(subprocess.run, python, check=True)),
        }
        found = medians({**measured(sides, rounds), "to the prompt (at most 0.6)": prompts[1:]})
    text = table(["", "s"], [[what, f"{took:.2f}"] for what, took in found.items()])
    publish(COMMAND, text, f"medians of {rounds}", write=arguments.write)
    print_facts("repl_start", seconds=found, rounds=rounds)


if __name__ == "__main__":
    main()
