"""What benchmarks have in common when they tell of numbers: the machine, ratios, tables."""

from __future__ import annotations

import os
import platform
import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from cgcli.core.machine import processor_name


def machine() -> str:
    """Processor, CPUs, memory and system; what Linux does not tell is left out."""
    memory = Path("/proc/meminfo")
    total = re.search(r"MemTotal:\s*(\d+) kB", memory.read_text()) if memory.exists() else None
    size = f", {int(total[1]) * 1024 / 1e9:.0f} GB" if total else ""
    return f"{processor_name()}, {os.cpu_count()} CPUs{size}, {platform.system()}"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios, each of two numbers of one round: what slows a round down slows both its sides."""
    return statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, its columns aligned for a terminal."""
    lines = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |\n"
        for line in lines
    )
