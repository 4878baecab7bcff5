"""Sandboxes under root: each gets a user ID and a control group of its own.

The IDs are unprivileged, and different in all sandboxes at the same time: the kernel counts limits of processes per
user, and a user ID shows which files a program left. In a control group the kernel counts memory that no process shows:
of files, shared mappings, sockets and its own tables. Version 1 of control groups has a tree of folders for each
controller, version 2 a single tree (cgroups(7)).
"""

from __future__ import annotations

import fcntl
import os
import random
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cgcli.core.errors import SandboxError

#: The IDs that systemd reserves for short-lived services (systemd.exec(5), DynamicUser).
USERS = range(61184, 65520)
#: SETGID, SETUID, SETPCAP and SYS_ADMIN (linux/capability.h): needed to change the user and to run bubblewrap as root.
_CAPABILITIES = sum(1 << number for number in (6, 7, 8, 21))


@cache
def runs_as_another_user() -> bool:
    """Whether programs run as another user: root's do, if this root may become any of USERS.

    Root of a namespace with a single user, as `unshare -Ur` makes it, is an ordinary user that sees itself as root.
    """
    if os.geteuid() != 0 or not all(map(_has_all, ("uid_map", "gid_map"))) or _own_proc_file("setgroups") == "deny":
        return False
    status = dict(line.split(":", 1) for line in _own_proc_file("status").splitlines())
    return int(status.get("CapEff", "0"), 16) & _CAPABILITIES == _CAPABILITIES


@contextmanager
def claimed_user() -> Iterator[int]:
    """A user ID that no other sandbox has until the context ends. Raises SandboxError if all are in use.

    The claim is the name of an abstract socket: the kernel allows each name once, and drops it with this process.
    """
    start = random.SystemRandom().randrange(len(USERS))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
        for number in (*USERS[start:], *USERS[:start]):
            try:
                claim.bind(f"\0cgcli-user-{number}")
            except OSError:
                continue
            yield number
            return
    raise SandboxError(f"all {len(USERS)} user IDs for sandboxes are in use", hint="try again later")


def _has_all(mapping: str) -> bool:
    """Whether this namespace maps all of USERS."""
    lines = [tuple(map(int, line.split())) for line in _own_proc_file(mapping).splitlines()]
    return any(first <= USERS[0] and USERS[-1] < first + count for first, _, count in lines)


def _own_proc_file(name: str) -> str:
    return Path("/proc/self", name).read_text("ascii", "replace").strip()


_PREFIX = "cgcli-"
#: Beyond the program's limit: for bubblewrap, and so that our own count notices first and the verdict is precise.
_OWN_BYTES = 64 * 1024**2
_OWN_PROCESSES = 8  # beyond the program's limit: bubblewrap, process 1 of the sandbox and what starts them
_GONE_S = 2.0  # how long to try: a group can be removed moments after its last process has ended
#: By version and controller, the files that take the limit. The first must exist.
_LIMITS: dict[int, dict[str, tuple[str, ...]]] = {
    1: {"memory": ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.kmem.tcp.limit_in_bytes"),
        "pids": ("pids.max",)},
    2: {"memory": ("memory.max",), "pids": ("pids.max",)},
}  # fmt: skip


@dataclass(frozen=True)
class ControlGroup:
    """A control group that limits memory and processes."""

    folders: tuple[Path, ...]  # one in each tree

    @property
    def join_command(self) -> list[str]:
        """The words to put before a command, so that it starts in this group."""
        joins = [f'echo 0 >"${number}"' for number in range(1, len(self.folders) + 1)]
        script = " && ".join([*joins, f"shift {len(joins)}", 'exec "$@"'])
        # Moving a single thread ("tasks") is fast; moving a process waits for all processors.
        entries = [folder / ("tasks" if (folder / "tasks").exists() else "cgroup.procs") for folder in self.folders]
        return ["sh", "-c", script, "join", *map(str, entries)]

    @property
    def out_of_memory(self) -> bool:
        """Whether the kernel has killed a process because the group's memory was full."""
        for folder in self.folders:
            for name in ("memory.oom_control", "memory.events"):
                with suppress(OSError):
                    for line in (folder / name).read_text().splitlines():
                        if line.startswith("oom_kill ") and line.split()[1] != "0":
                            return True
        return False


@contextmanager
def control_group(memory_bytes: int, processes: int) -> Iterator[ControlGroup | None]:
    """A group with these limits, removed afterwards if its processes are gone; None if none can be made."""
    sizes = {"memory": memory_bytes + _OWN_BYTES, "pids": processes + _OWN_PROCESSES}
    with ExitStack() as stack:
        try:
            group = ControlGroup(tuple(_made(folder, version, sizes, stack) for folder, version in parent_folders()))
        except OSError:
            stack.close()
            group = ControlGroup(())
        yield group if group.folders else None


def uncounted() -> str:
    """What the limits of a sandbox do not count on this machine; "" if a control group counts everything."""
    with control_group(2**30, 1) as group:
        if group:
            return ""
    gaps = ["the rest of partly unmapped shared mappings", "the kernel's tables (locks, page tables)"]
    if os.geteuid() == 0 and not runs_as_another_user():
        gaps.append("processes, if this user is root on the host")
    return "; ".join(gaps)


@cache
def parent_folders() -> tuple[tuple[Path, int], ...]:
    """The folders in which this process can make groups, each with its version; empty unless both memory and processes
    can be limited. Groups that killed processes left behind are removed."""
    found: set[tuple[Path, int]] = set()
    with suppress(OSError):
        mounts, own = _mounts(), _own_groups()
        for controller in ("memory", "pids"):
            place = _place(controller, mounts, own)
            if place is None or os.geteuid() != 0:
                return ()
            found.add(place)
        for folder, _ in found:
            for left in folder.glob(f"{_PREFIX}*"):
                _remove_if_left(left)
    return tuple(sorted(found))


def _place(controller: str, mounts: list[tuple[str, Path, str]], own: dict[str, str]) -> tuple[Path, int] | None:
    """The folder in which to make groups for a controller, and its version.

    `mounts` has root, mount point and controllers ("" in version 2, for all) of each tree; `own` has the group of this
    process in each.
    """
    for root, mounted, controllers in mounts:
        if controller in controllers.split(","):
            return _below(root, mounted, own.get(controller, "/")), 1
    for root, mounted, controllers in mounts:
        if not controllers:
            folder = _below(root, mounted, own.get("", "/"))
            for above in (folder, *folder.parents):
                control = above / "cgroup.subtree_control"
                if above.is_relative_to(mounted) and controller in control.read_text().split():
                    return above, 2
    return None


def _below(root: str, mounted: Path, own: str) -> Path:
    """The folder of the group `own` in a tree whose group `root` is mounted there."""
    folder = mounted / os.path.relpath(own, root)
    return folder if ".." not in folder.parts and folder.is_dir() else mounted


def _mounts() -> list[tuple[str, Path, str]]:
    found = []
    for line in Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split()[:3]
        if kind in {"cgroup", "cgroup2"}:
            root, place = before.split()[3:5]
            found.append((root, Path(place), options if kind == "cgroup" else ""))
    return found


def _own_groups() -> dict[str, str]:
    lines = Path("/proc/self/cgroup").read_text("utf-8", "surrogateescape").splitlines()
    groups = [line.split(":", 2) for line in lines]
    return {controller: path for _, controllers, path in groups for controller in controllers.split(",")}


def _made(parent: Path, version: int, sizes: dict[str, int], stack: ExitStack) -> Path:
    """Make a group and set its limits. It stays locked while this process uses it."""
    folder = _locked(parent, stack)
    for controller, (needed, *others) in _LIMITS[version].items():
        if version == 1 and not (folder / needed).exists():
            continue  # in another tree
        (folder / needed).write_text(str(sizes[controller]))
        for name in others:
            with suppress(OSError):
                (folder / name).write_text(str(sizes[controller]))
    if version == 2:
        for name, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
            with suppress(OSError):
                (folder / name).write_text(value)
    return folder


def _locked(parent: Path, stack: ExitStack) -> Path:
    """Make a folder and lock it. Before it is locked, another process may take it for one left behind and remove it."""
    while True:
        folder = parent / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        folder.mkdir()
        stack.callback(_remove, folder)
        with suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder


def _remove(folder: Path) -> None:
    until = time.monotonic() + _GONE_S
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > until:
                return  # the next process removes it
            time.sleep(0.002)
        else:
            return


def _remove_if_left(folder: Path) -> None:
    """Remove a group unless another process uses it: its maker holds a lock on it."""
    with suppress(OSError):
        lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folder.rmdir()
        finally:
            os.close(lock)
