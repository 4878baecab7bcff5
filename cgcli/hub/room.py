"""How much room the machine has: bytes of memory that this process may use, bytes free on a disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from cgcli.core.cgroup import OWN, ROOT, group_folders


def memory_bytes(root: Path = ROOT, own: Path = OWN) -> int:
    """Physical memory, or the limit of this control group or one of its parents where that is less.

    Reads cgroup v2 (`memory.max`) and, at its root only, v1 (`memory.limit_in_bytes`).
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for place in group_folders(root, own):
        limits += _limit(place / "memory.max")
    return min(limits + _limit(root / "memory" / "memory.limit_in_bytes"))


def free_disk_bytes(folder: Path) -> int:
    """Bytes that an ordinary user may still write under a folder, which need not exist yet."""
    return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free


def _limit(file: Path) -> list[int]:
    try:
        return [int(file.read_text())]
    except (OSError, ValueError):  # absent, or "max"
        return []
