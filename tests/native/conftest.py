"""A C compiler, its sanitizers, and the sources of the kernels."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.native.compiling import SANITIZERS, find_cxx

KERNELS = Path(__file__).parents[2] / "kernels"


@pytest.fixture(scope="session")
def compiler() -> str:
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        pytest.skip("no C compiler")
    return found


@pytest.fixture(scope="session")
def cxx() -> str:
    return find_cxx()


@pytest.fixture(scope="session")
def sanitizers(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Flags that make a program end where it reads or writes beside its memory, or overflows."""
    command = [compiler, *SANITIZERS, "-x", "c", "-", "-o", str(tmp_path_factory.mktemp("sanitizers") / "empty")]
    done = subprocess.run(command, input=b"int main(void) { return 0; }", capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this compiler has no sanitizers")
    return SANITIZERS


@pytest.fixture(scope="session")
def kernels() -> Path:
    return KERNELS
