"""The processes of one sandbox, seen from outside through its own /proc: what they have used, and whether any is left.

Its /proc lists all of them and no others, whoever their parents are, and it is the kernel that answers.
"""

from __future__ import annotations

import os
import time

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_END_S = 10.0
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

    def wait_for_end(self) -> None:
        """Until none is left, but for those that only wait to be counted by their parent."""
        until = time.monotonic() + _END_S
        while any(map(self._lives, self._pids())) and time.monotonic() < until:
            time.sleep(0.001)

    def close(self) -> None:
        os.close(self._proc)

    def _lives(self, pid: int) -> bool:
        try:
            return self._read(f"{pid}/stat").rpartition(b")")[2].split()[0] not in {b"Z", b"X"}
        except OSError:
            return False

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
