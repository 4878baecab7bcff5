"""Which wheel of llama.cpp `make` installs, with the real Makefile and a Python that only takes notes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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


def test_a_wheel_with_cuda_stays_until_a_full_rebuild(checkout: Path) -> None:
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


def planned(checkout: Path, python: str, *stamps: str) -> str:
    """What `make demo` would do where these steps were taken before, and `python` is the environment's."""
    (checkout / ".venv/bin/python").write_text(f'#!/bin/sh\nexec {python} "$@"\n')
    for name in (".python", ".llama", ".cgcli", *stamps):
        (checkout / ".venv" / name).touch()
    made = subprocess.run(
        ["make", "-n", "demo", *(f".venv/{name}" for name in stamps)],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    return made.stdout


def test_what_was_uninstalled_is_installed_again(checkout: Path) -> None:
    there = f"{sys.executable} -P"
    assert "pip install" not in planned(checkout, there)
    assert "pip install" not in planned(checkout, there, ".dev")
    gone = f"{sys.executable} -I -S"  # sees no package: as after `pip uninstall cgcli`, or of what it requires
    assert "--editable ." in planned(checkout, gone)
    assert "--force-reinstall" in planned(checkout, gone)
    assert "--editable '.[dev]'" in planned(checkout, gone, ".dev")


def test_pip_says_errors_alone(checkout: Path) -> None:
    """Its warnings, such as of folders of wheels that are not there, would fill what `make demo` says."""
    for line in (checkout / "Makefile").read_text().splitlines():
        assert "pip install" not in line or "--quiet --quiet" in line
    missing = {**os.environ, "PIP_FIND_LINKS": str(checkout / "nowhere"), "PIP_NO_INDEX": "1"}
    command = planned(checkout, f"{sys.executable} -I -S").partition(" -m pip install ")[2].split()
    flags = [word for word in command if word == "--quiet"]
    words = [sys.executable, "-m", "pip", "install", "--dry-run", "no-such-package"]
    said = [
        subprocess.run(
            [*words, *more], env=missing, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        ).stderr
        for more in (["--quiet"], flags[:2])
    ]
    assert "WARNING" in said[0] and "WARNING" not in said[1]
