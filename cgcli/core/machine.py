"""The machine's resources for this process: memory, disk space and CPU cores, within the limits of its cgroup."""

from __future__ import annotations

import functools
import math
import os
import re
from pathlib import Path

MAX_THREADS = 512
"""GGML_MAX_N_THREADS of llama.cpp, which aborts the process if it cannot start all of its threads."""

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_CPUS = Path("/sys/devices/system/cpu")
_CPUINFO = Path("/proc/cpuinfo")
_MEMINFO = Path("/proc/meminfo")
_STATUS = Path("/proc/self/status")
_UNLIMITED = 1 << 20  # cores


def memory_bytes(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUP) -> int:
    """Physical memory, or the limit of this process's cgroup or one of its parents if that is lower.

    Reads `memory.max` of cgroup v2, and `memory.limit_in_bytes` of v1 at its root.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for folder in _cgroup_folders(cgroups, own):
        limits += _number(folder / "memory.max")
    return min(limits + _number(cgroups / "memory" / "memory.limit_in_bytes"))


def available_bytes(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUP, meminfo: Path = _MEMINFO) -> int:
    """Memory that is available without swapping, within those limits; without /proc/meminfo, the limits alone."""
    left = [memory_bytes(cgroups, own)]
    for folder in _cgroup_folders(cgroups, own):
        if limit := _number(folder / "memory.max"):
            used = sum(_number(folder / "memory.current"))
            left.append(limit[0] - used + _inactive_file(folder / "memory.stat"))
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return min(left)
    return min(left + [int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")])


def peak_bytes(status: Path = _STATUS) -> int | None:
    """The peak resident size of this process, mapped files included; None without /proc.

    getrusage would start from what the parent had in memory when it forked.
    """
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:")), None)


def free_disk_bytes(folder: Path) -> int:
    """Bytes that an ordinary user can still write in a folder, which need not exist yet."""
    found = os.statvfs(next(place for place in (folder, *folder.parents) if place.exists()))
    return found.f_bavail * found.f_frsize


@functools.cache
def processor_name(cpuinfo: Path = _CPUINFO) -> str:
    """The CPU's model name; without /proc/cpuinfo, its architecture."""
    try:
        found = re.search(r"^model name\s*: (.+)$", cpuinfo.read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else os.uname().machine


def process_mark(pid: int) -> str:
    """A process's id and start, so that a later process with that id is another one; "" if there is none.

    Without /proc, the id alone.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        return f"{pid} {stat.rpartition(')')[2].split()[19]}"  # starttime: field 22, counted from the name's end
    except (OSError, IndexError):
        if Path("/proc/self/stat").exists():
            return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass  # it is another user's
    return str(pid)


def instruction_sets(cpuinfo: Path = _CPUINFO) -> frozenset[str]:
    """The processor's instruction sets, by their names in /proc/cpuinfo; none without it."""
    try:
        found = re.search(r"^(?:flags|Features)\s*: (.+)$", cpuinfo.read_text(), re.MULTILINE)
    except OSError:
        found = None
    return frozenset(found[1].split() if found else ())


def thread_count() -> int:
    """The threads to decode with: physical cores within the affinity mask and the cgroup's CPU quota, at least 1.

    Decoding is bound by memory, so a second thread per core only gets in the way. A container's CPU quota does not
    show in the affinity mask.
    """
    return max(1, min(physical_cores(), quota_cores(), MAX_THREADS))


def physical_cores() -> int:
    """Distinct cores behind the CPUs of the affinity mask; the number of CPUs if their topology is unknown."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    allowed = os.sched_getaffinity(0)
    cores = set()
    for cpu in allowed:
        topology = _CPUS / f"cpu{cpu}" / "topology"
        try:
            cores.add(((topology / "physical_package_id").read_text(), (topology / "core_id").read_text()))
        except OSError:
            return len(allowed)
    return len(cores)


def quota_cores(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUP) -> int:
    """Cores that the CPU quota of this process's cgroup and its parents allows, rounded up; a million without one.

    Reads `cpu.max` of cgroup v2, and `cpu.cfs_quota_us` of v1 at its root.
    """
    quotas = [_quota(folder / "cpu.max") for folder in _cgroup_folders(cgroups, own)]
    return min([*quotas, _quota_v1(cgroups / "cpu")])


def _cgroup_folders(cgroups: Path, own: Path) -> list[Path]:
    """The folder of this process's cgroup and of its parents, up to `cgroups`: a limit in any of them applies."""
    try:
        group = next((line.split(":", 2)[2] for line in own.read_text().splitlines() if line.startswith("0::")), "/")
    except OSError:
        group = "/"
    folder = cgroups / group.lstrip("/")
    return [place for place in (folder, *folder.parents) if place.is_relative_to(cgroups)]


def _inactive_file(stat: Path) -> int:
    """Bytes of file pages that are charged to a cgroup and reclaimed first."""
    try:
        return sum(int(line.split()[1]) for line in stat.read_text().splitlines() if line.startswith("inactive_file "))
    except OSError:
        return 0


def _number(file: Path) -> list[int]:
    try:
        return [int(file.read_text())]
    except (OSError, ValueError):  # absent, or "max"
        return []


def _quota(cpu_max: Path) -> int:
    try:
        quota, period = cpu_max.read_text().split()
        return math.ceil(int(quota) / int(period))
    except (OSError, ValueError):  # absent, or "max"
        return _UNLIMITED


def _quota_v1(folder: Path) -> int:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return math.ceil(quota / int((folder / "cpu.cfs_period_us").read_text())) if quota > 0 else _UNLIMITED
    except (OSError, ValueError):
        return _UNLIMITED
