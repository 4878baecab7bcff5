"""The files and folders that a user opens to a program: which ones can be opened, and what is cleaned up afterwards."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from cgcli.core.errors import UsageError
from cgcli.terminal.text import visible

_MACHINE = tuple(map(Path, ("/proc", "/sys", "/dev")))
_SHARED_MEMORY = Path("/dev/shm")  # the user may have folders in it
#: File systems through which the kernel shows and controls the machine, wherever they are mounted.
_KERNEL_FILES = {
    "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs", "proc", "pstore",
    "securityfs", "sysfs", "tracefs",
}  # fmt: skip


def check_path(path: Path) -> None:
    """Raises UsageError for paths that cannot be opened to a program: the whole file system, processes and devices."""
    real = _real(path)
    whole = real == Path("/")
    with suppress(OSError):  # a missing path is reported elsewhere
        whole = whole or path.samefile("/")
    if whole:
        raise _refusal(path, "it is the whole file system")
    for place in (*_MACHINE, *_kernel_mounts()):
        if real.is_relative_to(place) and not (place == Path("/dev") and _SHARED_MEMORY in real.parents):
            raise _refusal(path, f"it is in {place}")
        if place.is_relative_to(real):
            raise _refusal(path, f"it contains {place}")


def check_paths(paths: Iterable[Path]) -> None:
    """Raises UsageError for paths that are missing, and for those that `check_path` refuses."""
    for path in paths:
        check_path(path)
        if not path.exists():
            raise UsageError(f"no such file or folder: {path}", hint="give --read or --write an existing path")


def _refusal(path: Path, why: str) -> UsageError:
    real = _real(path)
    shown = visible(str(path) if path == real else f"{path} ({real})")
    hint = "give --read and --write files and folders of your own"
    return UsageError(f"cannot open {shown} to a program: {why}", hint=hint)


def _real(path: Path) -> Path:
    """The path with symbolic links resolved, as far as this process can resolve them."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # no permission, or a circle of links
        return Path(os.path.normpath(path.absolute()))


def _kernel_mounts() -> Iterator[Path]:
    """The mount points of the kernel's own file systems (proc_pid_mountinfo(5))."""
    for line in Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        if after.split()[0] in _KERNEL_FILES:
            place = before.split()[4]
            yield Path(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), place))


def escaping_links(written: Sequence[Path], read: Sequence[Path] = ()) -> dict[str, str]:
    """The symbolic links in `written` that lead outside `written` and `read`, and their targets."""
    roots = [_real(path) for path in (*written, *read)]
    found = {}
    for top in written:
        for folder, folders, files in os.walk(top):
            for link in filter(os.path.islink, (os.path.join(folder, name) for name in (*folders, *files))):  # noqa: PTH118
                target = _real(Path(link))
                if not any(target.is_relative_to(root) for root in roots):
                    found[link] = str(target)
    return found


def return_ownership(written: Sequence[Path], user: int) -> None:
    """Give each file that `user` made in these folders to the owner of the folder that it is in.

    In a folder that everyone can write to, the files become as open as the folder, so that the next program, which runs
    as another user, can change them. Call it only after all processes of the user have ended.
    """
    for top in written:
        for _, folders, files, descriptor in os.fwalk(top):
            for name in (*folders, *files):
                with suppress(OSError):
                    _give(descriptor, name, user)


def _give(folder: int, name: str, user: int) -> None:
    """Works on a descriptor of the file: its name could refer to another file by then."""
    file = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=folder)
    try:
        found, owner = os.fstat(file), os.fstat(folder)
        if found.st_uid != user:
            return
        itself = f"/proc/self/fd/{file}"
        os.chown(itself, owner.st_uid, owner.st_gid)
        if not stat.S_ISLNK(found.st_mode):
            mode = stat.S_IMODE(found.st_mode) & 0o777
            open_to_all = owner.st_mode & stat.S_IWOTH and not owner.st_mode & stat.S_ISVTX
            os.chmod(itself, mode | (mode >> 6 & owner.st_mode & 0o7 if open_to_all else 0))  # noqa: PTH101
    finally:
        os.close(file)
