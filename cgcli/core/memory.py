"""How much memory this process may use, and how much of it is free."""

from __future__ import annotations

import os
from pathlib import Path

from cgcli.core.cgroup import OWN, ROOT, group_folders

_MEMINFO = Path("/proc/meminfo")
_STATUS = Path("/proc/self/status")


def memory_bytes(root: Path = ROOT, own: Path = OWN) -> int:
    """Physical memory, or the limit of this control group or one of its parents where that is less.

    Reads cgroup v2 (`memory.max`) and, at its root only, v1 (`memory.limit_in_bytes`).
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for place in group_folders(root, own):
        limits += _number(place / "memory.max")
    return min(limits + _number(root / "memory" / "memory.limit_in_bytes"))


def available_bytes(root: Path = ROOT, own: Path = OWN, meminfo: Path = _MEMINFO) -> int:
    """What can be had without swapping, within those limits; all that they leave where the system does not tell."""
    left = [memory_bytes(root, own)]
    for place in group_folders(root, own):
        if limit := _number(place / "memory.max"):
            left.append(limit[0] - sum(_number(place / "memory.current")) + _inactive_file(place / "memory.stat"))
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return min(left)
    return min(left + [int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")])


def peak_bytes(status: Path = _STATUS) -> int | None:
    """The largest resident size of this process so far, mapped files included; None where the system does not tell.

    Not getrusage's: that one counts what the parent had in memory when it made this process.
    """
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:")), None)


def _inactive_file(stat: Path) -> int:
    """Bytes of file pages that a control group is charged with and would give up first."""
    try:
        return sum(int(line.split()[1]) for line in stat.read_text().splitlines() if line.startswith("inactive_file "))
    except OSError:
        return 0


def _number(file: Path) -> list[int]:
    try:
        return [int(file.read_text())]
    except (OSError, ValueError):  # absent, or "max"
        return []
