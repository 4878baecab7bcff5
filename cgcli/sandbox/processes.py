"""The processes of one sandbox, seen from outside: what they have used, and the end of all of them.

Its own /proc lists all of them and no others, whoever their parents are, and it is the kernel that answers.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_END_MS = 10_000
"""Killed processes are gone within milliseconds; one that the kernel holds longer than this is not waited for."""


class Processes:
    """proc: a descriptor of the folder, ours to close. cpu_s: processor seconds up to the last look."""

    def __init__(self, proc: int) -> None:
        self._proc = proc
        self._own_s: dict[int, float] = {}
        self.cpu_s = 0.0
        self.resident_bytes = 0

    def look(self) -> None:
        """Bring `cpu_s` and `resident_bytes` up to date."""
        tree_s, resident = 0.0, 0
        for pid in self._pids():
            try:
                fields = self._read(f"{pid}/stat").rpartition(b")")[2].split()
            except OSError:
                continue  # ended since it was listed
            own, waited = sum(map(int, fields[11:13])), sum(map(int, fields[13:15]))
            tree_s += (own + waited) / _TICKS_PER_S
            self._own_s[pid] = max(self._own_s.get(pid, 0.0), own / _TICKS_PER_S)
            resident += int(fields[21]) * _PAGE_BYTES
        # A child that its parent does not wait for (SIGCHLD ignored) is in nobody's sum once it has ended. One that
        # lived between two looks is missed: there the clock is the limit.
        self.cpu_s = max(self.cpu_s, tree_s, sum(self._own_s.values()))
        self.resident_bytes = resident

    def memory_bytes(self) -> int:
        """Resident memory, each shared page counted once; slow. What does not tell counts in full."""
        total = 0
        for pid in self._pids():
            try:
                rollup = self._read(f"{pid}/smaps_rollup")
                total += next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith(b"Pss:"))
            except (OSError, StopIteration):
                try:
                    total += int(self._read(f"{pid}/statm").split()[1]) * _PAGE_BYTES
                except OSError:
                    continue
        return total

    def close(self) -> None:
        os.close(self._proc)

    def _pids(self) -> list[int]:
        try:
            return [int(name) for name in os.listdir(self._proc) if name.isdecimal()]  # noqa: PTH208 (a descriptor)
        except OSError:
            return []

    def _read(self, name: str) -> bytes:
        descriptor = os.open(name, os.O_RDONLY, dir_fd=self._proc)
        try:
            return os.read(descriptor, 4096)
        finally:
            os.close(descriptor)


def kill_with_children(pid: int) -> None:
    """Kill a child of ours and its own children, and wait for these; it is left to be waited for.

    Process 1 of a namespace has ended when all others of it have (pid_namespaces(7)). It asks for its end with its
    parent's, but one killed at the moment of its birth would never hear of it.
    """
    os.kill(pid, signal.SIGSTOP)  # it has no more of them now
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    handles = []
    with suppress(OSError):  # where the kernel does not list them
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
