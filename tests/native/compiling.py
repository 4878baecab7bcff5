"""Compiling the kernels and the programs that check them, whole or with one line broken."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE_S

_WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-psabi"]
FLAGS = ["-std=c11", "-O2", "-ffp-contract=off", *_WARNINGS]
CXX_FLAGS = ["-std=c++17", "-O2", "-ffp-contract=off", *_WARNINGS]
SANITIZERS = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
FEW_SIZES = "-DSIZES=1,2,3,7,17,64,257,4097"
"""Lengths of rows for kernels/tests/checker.c: every path that a row can take, but for the largest sums."""


def compile_c(compiler: str, *words: str | Path) -> None:
    done = subprocess.run([compiler, *FLAGS, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def compile_cuda_on_host(cxx: str, kernels: Path, sources: Sequence[Path], *words: str | Path) -> None:
    """Compile CUDA sources with CUDA's runtime on this CPU. words: the flags, libraries and objects after them."""
    runtime = ["-include", kernels / "tests" / "cuda_runtime_on_host.h", f"-I{kernels / 'include'}"]
    command = [cxx, *CXX_FLAGS, *runtime, "-x", "c++", *sources, "-x", "none", *words]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def find_cxx() -> str:
    found = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if found is None:
        pytest.skip("no C++ compiler")
    return found


def check(*command: str | Path) -> tuple[int, str]:
    """Run a checker: its status, and all that it wrote."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return done.returncode, done.stdout + done.stderr


def assert_agrees(*command: str | Path) -> None:
    status, said = check(*command)
    assert status == 0 and said.endswith(" cases, 0 faults\n"), said


def broken(kernels: Path, folder: Path, name: str, before: str, after: str) -> Path:
    """A copy of the kernels in which a piece of one file, which stands there once, is replaced."""
    copy = folder / "kernels"
    shutil.copytree(kernels, copy)
    text = (copy / name).read_text()
    assert text.count(before) == 1, f"{name}: the line to break is not there any more"
    (copy / name).write_text(text.replace(before, after))
    return copy
