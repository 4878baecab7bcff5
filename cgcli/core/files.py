"""Files that are either whole or not there: written beside their target, flushed, renamed."""

from __future__ import annotations

import errno
import os
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from cgcli.core.errors import CgcliError

_TEMPORARY = ".cgcli"  # how the names of temporary files end


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
    """A new file beside `target` for this process alone, which is gone when the block ends.

    Such files of `target` that a killed process left go, too: one that somebody works on is locked. Raises OSError
    where the disk says no.
    """
    with suppress(OSError):
        for left in target.parent.iterdir():
            if left.name.startswith(f".{target.name}.") and left.name.endswith(_TEMPORARY):
                _remove_unlocked(left)
    while True:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=_TEMPORARY, dir=target.parent)
        try:
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

    The mode of a file that is replaced is kept. Raises CgcliError where the disk says no, or where `path` is there and
    not a regular file; errors of the block are its own.
    """
    if _special(path):
        raise CgcliError(f"cannot replace {path}: it is not a regular file")
    target = path.resolve() if path.is_symlink() else path
    with ExitStack() as stack:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            beside = stack.enter_context(temporary(target))
        except OSError as error:
            raise disk_error(path, error) from error
        yield beside
        try:
            # Last: what wrote the file may have put one of its own in its place.
            mode = target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~_umask()
            with beside.open("rb") as written:
                os.fchmod(written.fileno(), mode)
                os.fsync(written.fileno())
            beside.replace(target)
        except OSError as error:
            raise disk_error(path, error) from error


def check_writable(path: Path) -> None:
    """Raises CgcliError if `path` could not be written now, so that long work does not find out at its end.

    A folder that is not there is a mistake as often as a wish: it is not made.
    """
    target = path.resolve() if path.is_symlink() and not _special(path) else path
    if target.is_dir():
        raise CgcliError(f"cannot write {path}: it is a folder")
    try:
        if _special(path):
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
        folder = target.absolute().parent
        if not folder.exists():
            raise CgcliError(
                f"cannot write {path}: there is no folder {path.parent}",
                hint=f"mkdir -p {shlex.quote(str(path.parent))}",
            )
        tempfile.TemporaryFile(dir=folder).close()
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
    """Lock a file, until it is closed; False where another process has it locked, or the file system has no locks."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):  # Windows has no such module
        return False
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


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
