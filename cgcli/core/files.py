"""Files that are either whole or not there: written beside their target, flushed, renamed."""

from __future__ import annotations

import errno
import os
import shlex
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from cgcli.core.errors import CgcliError
from cgcli.core.place import CLOSED, take_place

if TYPE_CHECKING:
    from filelock import BaseFileLock

_TEMPORARY = ".cgcli"  # how the names of temporary files end
_PATIENCE_S = 30
_POLL_S = 0.02


def disk_error(path: Path, error: OSError) -> CgcliError:
    """The one-line error for a file that could not be written: full disk, read-only, no permission."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return CgcliError(f"no space left while writing {path}", hint="free some space and run the same command again")
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        reason = os.strerror(error.errno).lower()
        return CgcliError(f"cannot write {path}: {reason}", hint="choose another folder (CGCLI_HOME moves cgcli's own)")
    return CgcliError(f"cannot write {path}: {error.strerror or error}")


@contextmanager
def temporary(target: Path) -> Iterator[Path]:
    """A new file for this process alone, which is gone when the block ends.

    It is beside `target`, or elsewhere where that folder takes no new file and `target` itself can be written. Those of
    `target` that a killed process left go, too: one that somebody works on is locked. Raises OSError where the disk
    says no.
    """
    with suppress(OSError):
        for left in target.parent.iterdir():
            if left.name.startswith(_beginning(target)) and left.name.endswith(_TEMPORARY):
                _remove_unlocked(left)
    while True:
        descriptor, name = _new(target)
        try:
            with suppress(OSError):
                _lock(descriptor)
            if os.fstat(descriptor).st_nlink:  # else another process took it for one that was left
                yield Path(name)
                return
        finally:
            Path(name).unlink(missing_ok=True)
            os.close(descriptor)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and goes when it does not.

    A file that is replaced keeps its owner and its mode. Raises CgcliError where the disk says no, or where `path` is
    there and not a regular file; errors of the block are its own.
    """
    if _special(path):
        raise CgcliError(f"cannot replace {path}: it is not a regular file")
    with ExitStack() as stack:
        try:
            target = _target(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            beside = stack.enter_context(temporary(target))
        except OSError as error:
            raise disk_error(path, error) from error
        yield beside
        try:
            take_place(beside, target)
        except OSError as error:
            raise disk_error(path, error) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """No other cgcli writes `path` in a block of this kind: what is compared in it is what is replaced in it.

    The folder and the file themselves are locked (flock), so that nothing is left behind and it does not matter who
    runs the other one. Without effect where the file system has no locks. Raises CgcliError where it takes too long.
    """
    with ExitStack() as stack:
        if not _special(path):
            with suppress(OSError):
                target = _target(path)
                for one in (target.absolute().parent, target):  # of several folders where the file has several names
                    with suppress(OSError):
                        descriptor = os.open(one, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                        stack.callback(os.close, descriptor)
                        _wait_for(descriptor, path)
        yield


def take_lock(file: Path, wait_s: float = 0) -> BaseFileLock | None:
    """Lock `file`, which is created; None if another holder still has it after `wait_s` seconds.

    The lock belongs to the returned object, in any thread, and is lost when the process dies. Raises OSError.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(file, thread_local=False)
    try:
        lock.acquire(timeout=wait_s, poll_interval=_POLL_S)
    except Timeout:
        return None
    return lock


def check_writable(path: Path) -> None:
    """Raises CgcliError if `path` could not be written now, so that long work does not find out at its end.

    A folder that is not there is a mistake as often as a wish: it is not made.
    """
    try:
        target = path if _special(path) else _target(path)
        if target.is_dir():
            raise CgcliError(f"cannot write {path}: it is a folder")
        may, there = os.access(target, os.W_OK), target.exists()
        if not _special(path):
            folder = target.absolute().parent
            if not folder.exists():
                raise CgcliError(
                    f"cannot write {path}: there is no folder {path.parent}",
                    hint=f"mkdir -p {shlex.quote(str(path.parent))}",
                )
            try:
                tempfile.TemporaryFile(dir=folder).close()
            except OSError as error:
                if error.errno not in CLOSED or not may:
                    raise
        if there and not may and (_special(path) or target.stat().st_uid != os.geteuid()):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise disk_error(path, error) from error


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path`, or leave what was there; a device or a pipe is written to, never replaced.

    Raises CgcliError where the disk says no, BrokenPipeError where nobody reads a pipe.
    """
    try:
        if _special(path):
            path.write_bytes(data)
            return
        with replacing(path) as beside:
            beside.write_bytes(data)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise disk_error(path, error) from error


class LineFile:
    """A file that grows line by line: a line is in it, whole, once `append` returns. One that does not fit leaves
    nothing, so that the next one is never glued to it."""

    def __init__(self, path: Path) -> None:
        """Opens the file, or makes it. Raises CgcliError where the disk says no."""
        self._path = path
        try:
            self._file: IO[bytes] = path.open("ab", buffering=0)
        except OSError as error:
            raise disk_error(path, error) from error

    def append(self, line: bytes) -> None:
        """Add a line. Raises CgcliError where the disk says no."""
        before, rest = os.fstat(self._file.fileno()).st_size, memoryview(line)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]  # a disk that is nearly full takes a part
        except BaseException as error:
            with suppress(OSError):
                self._file.truncate(before)
            if isinstance(error, OSError):
                raise disk_error(self._path, error) from error
            raise

    def clear(self) -> None:
        """Begin anew. Raises CgcliError where the disk says no."""
        try:
            self._file.truncate(0)
        except OSError as error:
            raise disk_error(self._path, error) from error

    def close(self) -> None:
        self._file.close()


def _special(path: Path) -> bool:
    """Whether there is something that is neither a regular file nor a folder, such as /dev/null, also behind a link."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _lock(descriptor: int) -> bool:
    """Lock a file, until it is closed; whether no other process has it. Raises OSError where there are no locks."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except ImportError:  # Windows has no such module
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP)) from None
    return True


def _remove_unlocked(path: Path) -> None:
    """Remove a file that no process has locked."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            if _lock(descriptor):
                path.unlink()
        finally:
            os.close(descriptor)


def _wait_for(descriptor: int, path: Path) -> None:
    """Lock a folder or a file, until it is closed. Raises CgcliError where another process does not give it back."""
    late = time.monotonic() + _PATIENCE_S
    while not _lock(descriptor):
        if time.monotonic() > late:
            raise CgcliError(f"cannot write {path}: another program has locked it", hint="try again")
        time.sleep(0.01)


def _target(path: Path) -> Path:
    """The file itself, where `path` is a link to it. Raises OSError for links that go round in a circle."""
    if not path.is_symlink():
        return path
    try:
        return path.resolve()
    except RuntimeError:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None


def _beginning(target: Path) -> str:
    """How the names of temporary files of `target` begin; its own may be as long as a name can be."""
    return f".{target.name[:40]}."


def _new(target: Path) -> tuple[int, str]:
    beginning = _beginning(target)
    try:
        return tempfile.mkstemp(prefix=beginning, suffix=_TEMPORARY, dir=target.parent)
    except OSError as error:
        if error.errno not in CLOSED or not os.access(target, os.W_OK):
            raise
    return tempfile.mkstemp(prefix=beginning, suffix=_TEMPORARY)
