"""How much room a disk has."""

from __future__ import annotations

import shutil
from pathlib import Path


def free_disk_bytes(folder: Path) -> int:
    """Bytes that an ordinary user may still write under a folder, which need not exist yet."""
    return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free
