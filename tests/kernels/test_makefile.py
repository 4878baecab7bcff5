"""Which wheel of llama.cpp `make` installs, with the real Makefile and a Python that only takes notes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE_S

REPOSITORY = Path(__file__).parents[2]
PYTHON = """#!/bin/sh
echo "$@" >> notes
case "$1 $2" in
    *--cuda) [ -e no-nvcc ] && exit 1; echo cuda.whl;;
    *build_wheel.py*) echo cpu.whl;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    if shutil.which("make") is None:
        pytest.skip("no make here")
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    for name in (
        ".venv/.python",
        ".venv/bin/python",
        "pyproject.toml",
        "kernels/CMakeLists.txt",
        "kernels/llama/build_wheel.py",
        "kernels/llama/llama.cmake",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".venv/bin/python").write_text(PYTHON)
    (tmp_path / ".venv/bin/python").chmod(0o755)
    return tmp_path


def installed(checkout: Path, target: str, *, status: int = 0) -> list[str]:
    """The wheels that `make TARGET` installs after an edit of pyproject.toml."""
    (checkout / "notes").write_text("")
    later = (checkout / "Makefile").stat().st_mtime + 3600
    for mark in (checkout / ".venv").glob(".[lc]*"):
        os.utime(mark, (later - 1, later - 1))
    os.utime(checkout / "pyproject.toml", (later, later))
    made = subprocess.run(["make", target], cwd=checkout, capture_output=True, timeout=PATIENCE_S, check=False)
    assert made.returncode == status, made.stderr
    lines = (checkout / "notes").read_text().splitlines()
    return [line.split()[-1] for line in lines if "--force-reinstall" in line and line.endswith(".whl")]


def test_a_wheel_with_cuda_stays_one_until_all_is_made_anew(checkout: Path) -> None:
    assert installed(checkout, ".venv/.cgcli") == ["cpu.whl"]
    assert installed(checkout, "cuda")[-1] == "cuda.whl"
    assert installed(checkout, ".venv/.cgcli") == ["cuda.whl"]
    assert installed(checkout, "clean") == []
    assert not (checkout / ".venv").exists()


def test_another_build_of_the_same_version_replaces_the_old_one(checkout: Path) -> None:
    """pip leaves a package alone that has the version asked for already: a change of build options would not arrive."""
    installed(checkout, ".venv/.cgcli")
    lines = (checkout / "notes").read_text().splitlines()
    assert any("--no-deps --force-reinstall" in line and line.endswith("cpu.whl") for line in lines)


def test_without_a_compiler_for_it_all_stays_as_it_was(checkout: Path) -> None:
    (checkout / "no-nvcc").touch()
    assert installed(checkout, "cuda", status=2) == ["cpu.whl"]
    assert installed(checkout, ".venv/.cgcli") == ["cpu.whl"]
