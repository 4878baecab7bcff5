"""What was written takes the place of a file that is there, and is as that was: owner, group, mode, access list.

Where this process may not give it those, where the file has several names, or where it cannot be renamed to (a mount of
its own, a folder that is read-only), what was written is copied into the file that is there instead, once the disk has
room for all of it. One that is somebody else's and may not be written is replaced all the same, where the folder lets
anybody (a store that several people share); `check_writable` says no to it before, where it is a user's own choice.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}
"""What a folder says that takes no new file."""
_ACCESS_LIST = "system.posix_acl_access"


def take_place(beside: Path, target: Path) -> None:
    """Let what was written take the place of a file. Last of all: who wrote it may have put a new file there.

    Raises OSError; a full disk leaves `target` as it was.
    """
    with beside.open("rb") as written:
        descriptor = written.fileno()
        if target.exists():
            alike = target.stat().st_nlink == 1 and _made_alike(descriptor, target)
        else:
            os.fchmod(descriptor, 0o666 & ~_umask())
            alike = True
        os.fsync(descriptor)
    if alike or not os.access(target, os.W_OK):
        try:
            beside.replace(target)
            return
        except OSError as error:
            if error.errno not in {*CLOSED, errno.EBUSY, errno.EXDEV} or not target.exists():
                raise
    _overwrite(target, beside)


def _made_alike(descriptor: int, target: Path) -> bool:
    """Give an open file the owner, the mode and the access list of another; whether all of it could be given."""
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
    """Raises OSError for an access list that cannot be given; of other attributes those are copied that can be."""
    try:
        there, here = os.listxattr(target), os.listxattr(descriptor)
    except (OSError, AttributeError):  # neither the file system nor the platform need have them
        return
    if _ACCESS_LIST in here and _ACCESS_LIST not in there:  # the folder's default for new files
        os.removexattr(descriptor, _ACCESS_LIST)
    for name in there:
        try:
            os.setxattr(descriptor, name, os.getxattr(target, name))
        except OSError:
            if name == _ACCESS_LIST:
                raise


def _overwrite(target: Path, beside: Path) -> None:
    """Copy a file into another, which is as it was where the disk has no room. Raises OSError."""
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


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
