"""Disk space of the real machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from cgcli.hub.room import free_disk_bytes


def test_free_space_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_disk_bytes(tmp_path / "a" / "b") == pytest.approx(free_disk_bytes(tmp_path), rel=0.01)
