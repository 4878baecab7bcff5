"""The control groups of this process, where containers keep their limits (Linux, cgroup v2)."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def group_folders(root: Path = ROOT, own: Path = OWN) -> list[Path]:
    """The folder of this process's group and those of its parents, `root` last; `root` alone where none is told.

    A limit of any of them holds.
    """
    try:
        group = next((line.split(":", 2)[2] for line in own.read_text().splitlines() if line.startswith("0::")), "/")
    except OSError:
        group = "/"
    folder = root / group.lstrip("/")
    return [place for place in (folder, *folder.parents) if place.is_relative_to(root)]
