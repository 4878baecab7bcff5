"""Thread counts against made-up control groups, and the real machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cgcli.engine.threads import physical_cores, quota_cores, thread_count


def group(tmp_path: Path, limits: dict[str, str]) -> tuple[Path, Path]:
    own = tmp_path / "cgroup"
    own.write_text("0::/a/b\n")
    for folder, limit in limits.items():
        (tmp_path / "fs" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / folder / "cpu.max").write_text(limit)
    return tmp_path / "fs", own


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
    assert quota_cores(*group(tmp_path, limits)) == cores


def test_no_quota_is_no_limit(tmp_path: Path) -> None:
    assert quota_cores(*group(tmp_path, {"a/b": "max 100000"})) > 1000


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity masks here")
def test_the_affinity_mask_limits_cores() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert physical_cores() == thread_count() == 1
    finally:
        os.sched_setaffinity(0, before)
