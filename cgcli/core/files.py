"""Writes files whole or not at all: beside their target, flushed, renamed. Also locks, and files of lines."""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from cgcli.core.errors import CgcliError
from cgcli.core.reading import read_if_possible

if TYPE_CHECKING:
    from filelock import BaseFileLock

_TEMPORARY = ".cgcli"  # suffix of temporary files
_WAIT_S = 30  # for another program's lock
_POLL_S = 0.02
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}  # from a folder in which no file can be created
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of renameat2, see linux/fs.h
_ACCESS_LIST = "system.posix_acl_access"


def disk_error(path: Path, error: OSError) -> CgcliError:
    """The error for a file that could not be written."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return CgcliError(f"no space left while writing {path}", hint="free some space and run the same command again")
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        reason = os.strerror(error.errno).lower()
        return CgcliError(f"cannot write {path}: {reason}", hint="choose another folder; CGCLI_HOME moves cgcli's own")
    if error.errno == errno.ENXIO:
        return CgcliError(f"cannot write {path}: no program reads this pipe", hint="start its reader first")
    return CgcliError(f"cannot write {path}: {error.strerror or error}")


@contextmanager
def temporary(target: Path) -> Iterator[Path]:
    """A new locked file, which is removed at the end of the block.

    It is beside `target`, or in the system's folder for temporary files if only `target` itself is writable. Temporary
    files that killed processes left, which are no longer locked, are removed. Raises OSError.
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
            if os.fstat(descriptor).st_nlink:  # else another process has just removed it as a leftover
                yield Path(name)
                return
        finally:
            Path(name).unlink(missing_ok=True)
            os.close(descriptor)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to, which replaces `path` at the end of the block, or is removed if the block raises.

    A file that is replaced keeps its owner and mode. Raises CgcliError if `path` cannot be written or is not a regular
    file; errors of the block pass through.
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
            _take_place(beside, target)
        except OSError as error:
            raise disk_error(path, error) from error


@contextmanager
def locked(path: Path, interrupted: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Keep other cgcli processes from writing `path` in a block like this, to compare a file and then replace it.

    Locks the folder and the file themselves (flock), which leaves no files behind and works for different users. Has no
    effect on file systems without locks. Raises CgcliError if another process holds the lock for too long, or when
    `interrupted` returns true meanwhile.
    """
    with ExitStack() as stack:
        if not _special(path) and not path.is_dir():  # a folder is not written
            with suppress(OSError):
                target = _target(path)
                for one in (target.absolute().parent, target):  # a file may have names in several folders
                    with suppress(OSError):
                        descriptor = os.open(one, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                        stack.callback(os.close, descriptor)
                        _wait_for(descriptor, path, interrupted)
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
    """Raise CgcliError if `path` could not be written now, so that long work does not fail at its end.

    A missing folder is an error: it is as likely a typo.
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
                    f"cannot write {path}: {path.parent} does not exist",
                    hint=f"create it: mkdir -p {shlex.quote(str(path.parent))}",
                )
            from tempfile import TemporaryFile

            try:
                TemporaryFile(dir=folder).close()
            except OSError as error:
                if error.errno not in _CLOSED or not may:
                    raise
        if there and not may and (_special(path) or target.stat().st_uid != os.geteuid()):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise disk_error(path, error) from error


def _no_wait(path: str, flags: int) -> int:
    """Open a pipe that has a reader; without one this would wait for ever, and for no signal. Raises OSError."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    os.set_blocking(descriptor, True)
    return descriptor


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path`, or leave the old contents. A device or a pipe is written to, not replaced.

    Raises CgcliError, and BrokenPipeError if a pipe has no reader.
    """
    try:
        if _special(path):
            with open(path, "wb", opener=_no_wait) as file:
                file.write(data)
            return
        with replacing(path) as beside:
            beside.write_bytes(data)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise disk_error(path, error) from error


def replace_if(path: Path, before: bytes, after: bytes, interrupted: Callable[[], bool] = lambda: False) -> bool:
    """Write `after` to a file that holds `before`; False if it holds something else, which then stays.

    The new file takes the name of the old one, since a process that is killed then leaves one of the two, whole. Where
    the system can swap two files in one step (Linux), what comes out is compared once more: what another program saved
    at the last moment is put back. Raises CgcliError, also like `locked`.
    """
    try:
        target = _target(path)
        with locked(path, interrupted), temporary(target) as beside:
            beside.write_bytes(after)
            if read_if_possible(target) != before:
                return False
            if not _ready(beside, target):
                _overwrite(target, beside)
                return True
            expected, put = before, after
            while _swap(beside, target):
                came_out = beside.read_bytes()
                if came_out == expected:
                    return put is after
                expected, put = put, came_out  # somebody's save: it goes back, and our own must come out
            _rename(beside, target)
            return put is after
    except FileNotFoundError:
        return False  # an editor is just replacing it
    except OSError as error:
        raise disk_error(path, error) from error


class LineFile:
    """A file to append lines to. A line that does not fit on the disk leaves nothing behind, so that the next one is
    never joined to it."""

    def __init__(self, path: Path) -> None:
        """Open or create the file. Raises CgcliError."""
        self._path = path
        try:
            self._file: IO[bytes] = path.open("ab", buffering=0)
        except OSError as error:
            raise disk_error(path, error) from error

    def append(self, line: bytes) -> None:
        """Write a whole line. Raises CgcliError."""
        before, rest = os.fstat(self._file.fileno()).st_size, memoryview(line)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]  # a nearly full disk may take only a part
        except BaseException as error:
            with suppress(OSError):
                self._file.truncate(before)
            if isinstance(error, OSError):
                raise disk_error(self._path, error) from error
            raise

    def clear(self) -> None:
        """Remove all lines. Raises CgcliError."""
        try:
            self._file.truncate(0)
        except OSError as error:
            raise disk_error(self._path, error) from error

    def close(self) -> None:
        self._file.close()


def _take_place(beside: Path, target: Path) -> None:
    """Replace `target` with `beside`, keeping its owner, group, mode and access list.

    If this process may not set them, if `target` has several names, or if it cannot be renamed to (a mount point, or a
    read-only folder), its contents are overwritten instead, once the disk has room for all of them. Somebody else's
    file that may not be written is replaced all the same if the folder allows it, as in a shared store;
    `check_writable` refuses it beforehand if the user chose it. Raises OSError; a full disk leaves `target` as it was.
    """
    if _ready(beside, target) or not os.access(target, os.W_OK):
        _rename(beside, target)
    else:
        _overwrite(target, beside)


def _ready(beside: Path, target: Path) -> bool:
    """Flush a file that is to replace `target`, like it in owner and mode. Returns whether it may take its name."""
    with beside.open("rb") as written:
        descriptor = written.fileno()
        if target.exists():
            alike = target.stat().st_nlink == 1 and _made_alike(descriptor, target)
        else:
            os.fchmod(descriptor, 0o666 & ~_umask())
            alike = True
        os.fsync(descriptor)
    return alike


def _rename(beside: Path, target: Path) -> None:
    try:
        beside.replace(target)
    except OSError as error:
        if error.errno not in {*_CLOSED, errno.EBUSY, errno.EXDEV} or not target.exists():
            raise
        _overwrite(target, beside)


def _swap(one: Path, other: Path) -> bool:
    """Exchange two files in one step; False where the system or the file system cannot. Raises FileNotFoundError."""
    import ctypes

    try:
        exchange = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    done: bool = exchange(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0
    if not done and ctypes.get_errno() == errno.ENOENT:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(other))
    return done


def _made_alike(descriptor: int, target: Path) -> bool:
    """Give an open file the owner, mode and access list of another. Returns whether all of them could be set."""
    old, new = target.stat(), os.fstat(descriptor)
    try:
        if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
            os.fchown(descriptor, old.st_uid, old.st_gid)
        os.fchmod(descriptor, old.st_mode & 0o7777)
        _copy_attributes(descriptor, target)
    except OSError:
        return False
    return True


def _copy_attributes(descriptor: int, target: Path) -> None:
    """Copy the extended attributes that can be set. Raises OSError if the access list cannot."""
    try:
        there, here = os.listxattr(target), os.listxattr(descriptor)
    except (OSError, AttributeError):  # not supported by the file system or the platform
        return
    if _ACCESS_LIST in here and _ACCESS_LIST not in there:  # inherited from the folder's default
        os.removexattr(descriptor, _ACCESS_LIST)
    for name in there:
        try:
            os.setxattr(descriptor, name, os.getxattr(target, name))
        except OSError:
            if name == _ACCESS_LIST:
                raise


def _overwrite(target: Path, beside: Path) -> None:
    """Copy a file into another, which stays as it was if the disk has no room. Raises OSError."""
    with beside.open("rb") as new, target.open("r+b") as file:
        before, size = os.fstat(file.fileno()).st_size, os.fstat(new.fileno()).st_size
        if size > before and hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError:
                file.truncate(before)
                raise
        shutil.copyfileobj(new, file)
        file.truncate(size)
        file.flush()
        os.fsync(file.fileno())


def _special(path: Path) -> bool:
    """Whether `path` exists but is neither a regular file nor a folder, such as /dev/null; links are followed."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _lock(descriptor: int) -> bool:
    """Lock a file until it is closed. Returns False if another process holds it. Raises OSError without locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_unlocked(path: Path) -> None:
    """Remove a file unless a process has locked it."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            if _lock(descriptor):
                path.unlink()
        finally:
            os.close(descriptor)


def _wait_for(descriptor: int, path: Path, interrupted: Callable[[], bool]) -> None:
    """Lock a folder or file until it is closed. Raises CgcliError if another process does not release it."""
    late = time.monotonic() + _WAIT_S
    while not _lock(descriptor):
        if time.monotonic() > late or interrupted():
            raise CgcliError(f"cannot write {path}: another program has locked it", hint="try again")
        time.sleep(0.01)


def _target(path: Path) -> Path:
    """The file that `path` links to, or `path`. Raises OSError for a cycle of links."""
    if not path.is_symlink():
        return path
    try:
        return path.resolve()
    except RuntimeError:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None


def _beginning(target: Path) -> str:
    """The prefix of temporary files for `target`; shortened, since names have a maximum length."""
    return f".{target.name[:40]}."


def _new(target: Path) -> tuple[int, str]:
    from tempfile import mkstemp

    beginning = _beginning(target)
    try:
        return mkstemp(prefix=beginning, suffix=_TEMPORARY, dir=target.parent)
    except OSError as error:
        if error.errno not in _CLOSED or not os.access(target, os.W_OK):
            raise
    return mkstemp(prefix=beginning, suffix=_TEMPORARY)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
