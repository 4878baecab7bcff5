"""Seconds from dist/ to a first program in an empty home without a compiler: by pip, by pipx and by uv.

    python -m tests.benchmarks.installation [--runs N]

Needs dist/ (`make dist`). What the package index gives is downloaded before, and its time is not counted. Every run has
a new home, and so no caches. The last line is JSON.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from tests.benchmarks.report import command_line, measured, medians, print_facts, seconds, table
from tests.e2e.test_nano import GOLDEN, PROMPTS
from tests.support.installing import METHODS, Machine, fetch, run


def first_program(method: str, fetched: Path) -> float:
    """Seconds to install by this method and to write the program."""
    with tempfile.TemporaryDirectory() as home:
        machine = Machine(Path(home), fetched, method)

        def installed() -> None:
            command = machine.install()
            words = ("gen", "-m", "codegen-nano", "-t", "0", "--exact", *PROMPTS)
            assert run(command, *words, variables=machine.variables).stdout.encode() == GOLDEN.read_bytes()

        return seconds(installed)


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        fetch(Path(folder))
        found = measured({method: partial(first_program, method, Path(folder)) for method in METHODS}, runs)
    middle = medians(found, 1)
    print(
        table(["", "median, s", "slowest, s"], [[name, str(middle[name]), f"{max(found[name]):.1f}"] for name in found])
    )
    print_facts("installation", seconds=middle, runs=runs)


if __name__ == "__main__":
    main()
