"""Memory and disk against made-up control groups and the real machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from cgcli.hub.room import free_disk_bytes, memory_bytes


@pytest.mark.parametrize(
    ("limits", "expected"),
    [({"a/b": "1000"}, 1000), ({"a/b": "max", "a": "2000"}, 2000), ({"a/b": "3000", "": "500"}, 500)],
)
def test_the_tightest_memory_limit_on_the_way_up_counts(tmp_path: Path, limits: dict[str, str], expected: int) -> None:
    own = tmp_path / "cgroup"
    own.write_text("0::/a/b\n")
    for folder, limit in limits.items():
        (tmp_path / "fs" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / folder / "memory.max").write_text(limit)
    assert memory_bytes(tmp_path / "fs", own) == expected


def test_without_limits_it_is_the_machines(tmp_path: Path) -> None:
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert memory_bytes(tmp_path, tmp_path / "none") == pytest.approx(total, rel=0.01)


def test_free_space_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_disk_bytes(tmp_path / "a" / "b") == pytest.approx(free_disk_bytes(tmp_path), rel=0.01)
