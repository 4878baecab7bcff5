"""`cgcli convert` as a process, on a real checkpoint where one is at hand."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.cli import run as cgcli


def test_a_checkpoint_is_converted_and_reported(shared: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.gguf"
    ran = cgcli("convert", str(shared / "golden" / "head64"), "-o", str(target), "--quant", "Q8_0", "--json")
    assert ran.status == 0, ran.err
    report = json.loads(ran.out)
    assert report["quant"] == "q8_0" and report["size_bytes"] == target.stat().st_size
    assert report["verification"]["argmax_agreement"] > 0.99
    assert "layers against the checkpoint" in ran.err and "KL divergence" in ran.err


def test_a_folder_without_a_checkpoint_is_status_5_and_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "out.gguf"
    ran = cgcli("convert", str(tmp_path), "-o", str(target))
    assert (ran.status, ran.out, ran.err.count("\n")) == (5, b"", 1)
    assert not target.exists()
    assert cgcli("convert", str(tmp_path)).status == 2
    assert cgcli("convert", str(tmp_path), "-o", str(target), "--quant", "q3").status == 2
