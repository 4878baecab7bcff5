"""Hashes of files, with progress."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

from cgcli.core.progress import Progress

_PIECE = 1 << 20


class Hash(Protocol):
    """What hashlib's objects have in common."""

    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


def sha256_file(path: Path, progress: Progress, label: str) -> str:
    """Hexadecimal sha256 of a file. Raises OSError as reading does."""
    return hash_file(hashlib.sha256(), path, progress, label)


def hash_file(digest: Hash, path: Path, progress: Progress, label: str) -> str:
    """What `digest` comes to, in hexadecimal, when it has seen a file. Raises OSError as reading does."""
    with progress.task(label, path.stat().st_size) as task, path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            task.advance(len(piece))
    return digest.hexdigest()
