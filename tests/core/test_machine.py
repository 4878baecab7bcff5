"""Limits from made-up cgroups, and those of the real machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cgcli.core.machine import (
    available_bytes,
    free_disk_bytes,
    memory_bytes,
    physical_cores,
    quota_cores,
    thread_count,
)


def group(tmp_path: Path, files: dict[str, str]) -> tuple[Path, Path]:
    """A made-up cgroup file system with this process in a/b."""
    own = tmp_path / "cgroup"
    own.write_text("0::/a/b\n")
    for file, text in files.items():
        (tmp_path / "fs" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / file).write_text(text)
    return tmp_path / "fs", own


@pytest.mark.parametrize(
    ("limits", "expected"),
    [({"a/b": "1000"}, 1000), ({"a/b": "max", "a": "2000"}, 2000), ({"a/b": "3000", "": "500"}, 500)],
)
def test_the_tightest_memory_limit_on_the_way_up_counts(tmp_path: Path, limits: dict[str, str], expected: int) -> None:
    files = {f"{folder}/memory.max".lstrip("/"): limit for folder, limit in limits.items()}
    assert memory_bytes(*group(tmp_path, files)) == expected


def test_without_limits_it_is_the_machines(tmp_path: Path) -> None:
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    assert memory_bytes(tmp_path, tmp_path / "none") == pytest.approx(total, rel=0.01)
    assert available_bytes(tmp_path, tmp_path / "none") == pytest.approx(free, rel=0.2)


def test_what_a_group_has_taken_is_not_available_but_its_clean_file_pages_are(tmp_path: Path) -> None:
    files = {"a/memory.max": "1000", "a/memory.current": "700", "a/memory.stat": "anon 500\ninactive_file 150\n"}
    assert available_bytes(*group(tmp_path, files)) == 450


def test_without_meminfo_the_limit_is_all_there_is_to_know(tmp_path: Path) -> None:
    files = {"a/b/memory.max": "1000"}
    assert available_bytes(*group(tmp_path, files), meminfo=tmp_path / "none") == 1000


def test_free_space_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_disk_bytes(tmp_path / "a" / "b") == pytest.approx(free_disk_bytes(tmp_path), rel=0.01)


@pytest.mark.parametrize(
    ("limits", "cores"),
    [
        ({"a/b": "200000 100000"}, 2),
        ({"a/b": "150000 100000"}, 2),
        ({"a/b": "max 100000", "a": "100000 100000"}, 1),
        ({"": "300000 100000", "a/b": "400000 100000"}, 3),
    ],
)
def test_the_tightest_quota_on_the_way_up_counts(tmp_path: Path, limits: dict[str, str], cores: int) -> None:
    files = {f"{folder}/cpu.max".lstrip("/"): limit for folder, limit in limits.items()}
    assert quota_cores(*group(tmp_path, files)) == cores


def test_no_quota_is_no_limit(tmp_path: Path) -> None:
    assert quota_cores(*group(tmp_path, {"a/b/cpu.max": "max 100000"})) > 1000


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity masks here")
def test_the_affinity_mask_limits_cores() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert physical_cores() == thread_count() == 1
    finally:
        os.sched_setaffinity(0, before)
