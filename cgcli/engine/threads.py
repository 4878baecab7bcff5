"""How many threads a pass should use: the physical cores that this process may really have.

Decoding is bound by memory, so a second thread on one core only gets in the way; and a container's CPU quota is not
seen in the affinity mask.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

from cgcli.core.cgroup import OWN, ROOT, group_folders

_CPUS = Path("/sys/devices/system/cpu")
_UNLIMITED = 1 << 20


def thread_count() -> int:
    """Physical cores within the affinity mask and the cgroup's CPU quota; at least 1, and no more than ggml takes."""
    return max(1, min(physical_cores(), quota_cores(), 512))


def physical_cores() -> int:
    """Distinct cores behind the CPUs of the affinity mask; all CPUs where the system does not tell."""
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


def quota_cores(root: Path = ROOT, own: Path = OWN) -> int:
    """Cores that the CPU quota of this control group and its parents is worth, rounded up; many where none is set.

    Reads cgroup v2 (`cpu.max`) and, at its root only, v1 (`cpu.cfs_quota_us`).
    """
    quotas = [_limit(place / "cpu.max") for place in group_folders(root, own)]
    return min([*quotas, _limit_v1(root / "cpu")])


def _limit(cpu_max: Path) -> int:
    try:
        quota, period = cpu_max.read_text().split()
        return math.ceil(int(quota) / int(period))
    except (OSError, ValueError):  # absent, or "max"
        return _UNLIMITED


def _limit_v1(folder: Path) -> int:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        return math.ceil(quota / int((folder / "cpu.cfs_period_us").read_text())) if quota > 0 else _UNLIMITED
    except (OSError, ValueError):
        return _UNLIMITED
