"""What benchmarks have in common: their command line, sides measured in turn, medians and ratios, what they print."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from cgcli.core.machine import processor_name
from tests.support.markdown import write_block

ROOT = Path(__file__).parents[2]
MEASUREMENTS = ROOT / "docs" / "measurements.md"
SHARED = ROOT.parent / "shared" / "data"  # published benchmarks, which are not part of the repository
EMBEDDED = ROOT / "build/test-home/store/smollm2-135m/q8_0.gguf"


def command_line(doc: str | None, *, writes: bool = False) -> argparse.ArgumentParser:
    """A parser whose help is the benchmark's docstring. writes: it has --write, for `publish`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if writes:
        parser.add_argument("--write", action="store_true", help="put the table into docs/measurements.md")
    return parser


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def in_turn(number: int, calls: Sequence[Callable[[], float]]) -> list[float]:
    """The numbers of all calls, made in another order each round."""
    order = [(number + index) % len(calls) for index in range(len(calls))]
    found = {index: calls[index]() for index in order}
    return [found[index] for index in range(len(calls))]


def measured(sides: Mapping[str, Callable[[], float]], rounds: int, *, warm_up: int = 1) -> dict[str, list[float]]:
    """The numbers of each side by round, all sides in turn; the first `warm_up` rounds are not counted."""
    found = [in_turn(number, list(sides.values())) for number in range(warm_up + rounds)][warm_up:]
    return dict(zip(sides, map(list, zip(*found, strict=True)), strict=True))


def medians(numbers: Mapping[str, Iterable[float]], digits: int = 3) -> dict[str, float]:
    return {name: round(statistics.median(values), digits) for name, values in numbers.items()}


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios, each of two numbers of one round: what slows a round down slows both its sides."""
    return statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))


def machine() -> str:
    """Processor, CPUs, memory and system; what Linux does not tell is left out."""
    memory = Path("/proc/meminfo")
    total = re.search(r"MemTotal:\s*(\d+) kB", memory.read_text()) if memory.exists() else None
    size = f", {int(total[1]) * 1024 / 1e9:.0f} GB" if total else ""
    return f"{processor_name()}, {os.cpu_count()} CPUs{size}, {platform.system()}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, its columns aligned for a terminal."""
    lines = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |\n"
        for line in lines
    )


def publish(command: str, text: str, conditions: str, *, write: bool) -> None:
    """Print tables, and where, when and under which conditions they were measured.

    write: also put both into the block of docs/measurements.md that has the command's name.
    """
    about = f"{machine()}; {conditions}; {datetime.date.today()}, cgcli {_commit()}"
    print(f"{text}\n{about}")
    if write:
        write_block(MEASUREMENTS, command, f"`{command}`, {about}:\n\n{text}")


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + " with changes" * bool(git("status", "-s", "cgcli", "kernels"))


def print_facts(benchmark: str, **facts: object) -> None:
    """The last line that a benchmark prints: JSON, for other programs."""
    print(json.dumps({"benchmark": benchmark, **facts, "machine": machine()}))
