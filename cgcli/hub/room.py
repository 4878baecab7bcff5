"""How much room the machine has: bytes of memory that this process may use, bytes free on a disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def memory_bytes(root: Path = _CGROUP, own: Path = Path("/proc/self/cgroup")) -> int:
    """Physical memory, or the limit of this cgroup or one of its parents where that is less.

    Reads cgroup v2 (`memory.max`) and, at its root only, v1 (`memory.limit_in_bytes`).
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    folder = root / _group(own).lstrip("/")
    for place in (folder, *folder.parents):
        limits += _limit(place / "memory.max")
        if place == root:
            break
    return min(limits + _limit(root / "memory" / "memory.limit_in_bytes"))


def free_disk_bytes(folder: Path) -> int:
    """Bytes that an ordinary user may still write under a folder, which need not exist yet."""
    return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free


def _group(own: Path) -> str:
    try:
        return next((line.split(":", 2)[2] for line in own.read_text().splitlines() if line.startswith("0::")), "/")
    except OSError:
        return "/"


def _limit(file: Path) -> list[int]:
    try:
        return [int(file.read_text())]
    except (OSError, ValueError):  # absent, or "max"
        return []
