"""One process at a time works on a model of the store; the others wait. A killed process holds no lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cgcli.core.files import disk_error
from cgcli.core.progress import Progress


@contextmanager
def locked(root: Path, name: str, progress: Progress) -> Iterator[None]:
    """Hold the lock of model `name` of the store at `root`; says so where it has to wait.

    Raises CgcliError where the store cannot be written.
    """
    from filelock import FileLock, Timeout

    file = root / ".locks" / f"{name}.lock"
    lock = FileLock(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.note(f"another cgcli is working on {name}: waiting for it")
            lock.acquire(poll_interval=0.2)
    except OSError as error:
        raise disk_error(root, error) from error
    try:
        yield
    finally:
        lock.release()
