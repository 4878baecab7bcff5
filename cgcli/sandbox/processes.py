"""The processes of one sandbox, seen from outside: the time and memory they use, and killing them all.

The sandbox's own /proc lists exactly its processes, whoever their parents are, and the program cannot forge it.
"""

from __future__ import annotations

import mmap
import os
import select
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_END_MS = 10_000  # how long to wait for a killed process; most are gone within milliseconds
_INODE_BYTES = 1536  # what the kernel keeps for a file in memory, beside its contents


class Processes:
    """The time and memory that the processes of a sandbox use.

    Takes ownership of `proc`, a descriptor of the sandbox's /proc. `memory_folders` are folders of the sandbox whose
    files lie in memory.
    """

    def __init__(self, proc: int, memory_folders: Sequence[str] = ()) -> None:
        self._proc = proc
        self._own_s: dict[int, float] = {}
        self._folders = list(self._opened(memory_folders))
        self.cpu_s = 0.0  # processor seconds up to the last update
        self.most_bytes = 0  # an upper bound of `memory_bytes` at the last update, faster to compute

    def update(self) -> None:
        """Bring `cpu_s` and `most_bytes` up to date."""
        tree_s, most = 0.0, self._in_files()
        for pid in self._pids():
            try:
                fields = self._read(f"{pid}/stat").rpartition(b")")[2].split()
            except OSError:
                continue  # ended since it was listed
            own, waited = sum(map(int, fields[11:13])), sum(map(int, fields[13:15]))
            tree_s += (own + waited) / _TICKS_PER_S
            self._own_s[pid] = max(self._own_s.get(pid, 0.0), own / _TICKS_PER_S)
            most += int(fields[20]) + len(self._listed(f"{pid}/fd")) * socket_bytes()
        # A child that its parent does not wait for (SIGCHLD ignored) is in no other process's sum once it has ended. If
        # it lived between two updates, it is missed, and only the wall-clock limit holds.
        self.cpu_s = max(self.cpu_s, tree_s, sum(self._own_s.values()))
        self.most_bytes = most

    def memory_bytes(self) -> int:
        """Memory of the processes, their files and sockets; slow.

        Resident memory counts each shared page once. Shared mappings count by their size, since their pages stay where
        no process has them resident; sockets by what they can hold; files with what the kernel keeps for each.
        """
        total = self._in_files()
        shared: dict[int, int] = {}
        sockets: set[str] = set()
        for pid in self._pids():
            total += self._resident(pid)
            for inode, size in self._shared_mappings(pid):
                shared[inode] = max(size, shared.get(inode, 0))
            for name in self._listed(f"{pid}/fd"):
                with suppress(OSError):
                    sockets.add(os.readlink(f"{pid}/fd/{name}", dir_fd=self._proc))
        return total + sum(shared.values()) + socket_bytes() * sum(one.startswith("socket:") for one in sockets)

    def _resident(self, pid: int) -> int:
        """Resident memory, without pages of shared memory and of files in memory: these are counted elsewhere."""
        try:
            lines = dict(line.split(b":", 1) for line in self._read(f"{pid}/smaps_rollup").splitlines()[1:])
            kilobytes = [int(lines[name].split()[0]) for name in (b"Pss", b"Pss_Shmem")]
            return 1024 * (kilobytes[0] - kilobytes[1])
        except (OSError, KeyError):
            try:
                return int(self._read(f"{pid}/statm").split()[1]) * _PAGE_BYTES
            except OSError:
                return 0

    def _shared_mappings(self, pid: int) -> Iterator[tuple[int, int]]:
        """Inode and mapped size of each mapping of shared memory without a file."""
        with suppress(OSError):
            for line in self._read(f"{pid}/maps").splitlines():
                addresses, permissions, offset, device, inode = line.split(None, 5)[:5]
                if permissions[3:4] == b"s" and device == _shared_device():
                    start, end = (int(address, 16) for address in addresses.split(b"-"))
                    yield int(inode), end - start + int(offset, 16)

    def _in_files(self) -> int:
        """Memory of the files in the memory folders."""
        total = 0
        for folder in self._folders:
            found = os.fstatvfs(folder)
            total += (found.f_blocks - found.f_bfree) * found.f_frsize
            total += (found.f_files - found.f_ffree) * _INODE_BYTES
        return total

    def _opened(self, folders: Sequence[str]) -> Iterator[int]:
        for folder in folders:
            with suppress(OSError):
                yield os.open(f"1/root/{folder}", os.O_PATH | os.O_DIRECTORY, dir_fd=self._proc)

    def close(self) -> None:
        for descriptor in (self._proc, *self._folders):
            os.close(descriptor)

    def _pids(self) -> list[int]:
        return [int(name) for name in self._listed(".") if name.isdecimal()]

    def _listed(self, name: str) -> list[str]:
        """The entries of a folder of /proc; empty if it is gone."""
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._proc)
        except OSError:
            return []
        try:
            return os.listdir(descriptor)  # noqa: PTH208 (a descriptor)
        except OSError:
            return []
        finally:
            os.close(descriptor)

    def _read(self, name: str) -> bytes:
        with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=self._proc), "rb") as file:
            return file.read()


@cache
def socket_bytes() -> int:
    """What one socket can hold: the largest buffer that a program can set, which the kernel doubles (socket(7))."""
    try:
        return 2 * int(Path("/proc/sys/net/core/wmem_max").read_text())
    except (OSError, ValueError):
        return 2 * 212992


@cache
def _shared_device() -> bytes:
    """The device number that the kernel shows for shared memory without a file."""
    with mmap.mmap(-1, _PAGE_BYTES) as shared:
        shared.flush()
        lines = Path("/proc/self/maps").read_bytes().splitlines()
    return next(line.split()[3] for line in lines if line.endswith(b"/dev/zero (deleted)"))


def kill_with_children(pid: int) -> None:
    """Kill a child of this process and its own children, and wait for the latter; the child itself is left to wait for.

    Process 1 of a namespace ends after all others in it (pid_namespaces(7)). It asks the kernel to die with its parent,
    but if the parent dies before that call, it would live on.
    """
    os.kill(pid, signal.SIGSTOP)  # from now on it starts no more children
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    handles = []
    with suppress(OSError):  # not every kernel lists them
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(ProcessLookupError):
                handles.append(os.pidfd_open(int(child)))
    os.kill(pid, signal.SIGKILL)
    for handle in handles:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        ended = select.poll()
        ended.register(handle, select.POLLIN)
        ended.poll(_END_MS)
        os.close(handle)
