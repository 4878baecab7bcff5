"""From Enter in the shell to the REPL's first prompt, the model loading meanwhile; beside Python's own start.

    python -m tests.benchmarks.repl_start [--rounds N]

In a pseudo-terminal, with the embedded model. `until it answers`: to the end of a first turn of one token, which waits
for the model. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.report import machine, table
from tests.conftest import TEST_HOME
from tests.support.process import CGCLI
from tests.support.pseudo_terminal import pseudo_terminal


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


def imports() -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import typer, prompt_toolkit"], check=True)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    prompts, answers, bare = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "store").symlink_to(TEST_HOME / "store")
        started(folder)  # what is read first comes from the disk
        for _ in range(rounds):
            prompt, answer = started(folder)
            prompts.append(prompt)
            answers.append(answer)
            bare.append(imports())
    found = {
        "to the prompt (at most 0.6)": statistics.median(prompts),
        "until it answers": statistics.median(answers),
        "python, importing typer and prompt_toolkit": statistics.median(bare),
    }
    about = f"{machine()}; medians of {rounds}"
    print(table(["", "s"], [[what, f"{seconds:.2f}"] for what, seconds in found.items()]) + about)
    print(json.dumps({"benchmark": "repl_start", "seconds": found, "about": about}))


if __name__ == "__main__":
    main()
