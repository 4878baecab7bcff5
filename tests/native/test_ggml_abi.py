"""kernels/ggml/abi.h states ggml's structures as the installed ggml has them.

Its public headers are installed with llama-cpp-python. The internal ones are only in its source: unpack the source
distribution of the pinned version, and link its vendor/llama.cpp to build/llama.cpp.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from cgcli.engine.binding import llama
from tests.conftest import REPOSITORY
from tests.native.compiling import check

INSTALLED = Path(sysconfig.get_path("purelib")) / "include"
SOURCE = REPOSITORY / "build" / "llama.cpp" / "ggml"


def compiled(cxx: str, kernels: Path, target: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [cxx, "-std=c++17", "-O1", *flags, str(kernels / "tests" / "abi_check.cpp"), "-o", str(target)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def public_headers() -> Path:
    for folder in (INSTALLED, *Path(llama().api.__file__).parents):
        for found in (folder, folder / "include"):
            if (found / "ggml.h").is_file():
                return found
    pytest.skip("llama-cpp-python came without ggml's headers")


def test_the_version_is_that_of_the_library_that_is_loaded(kernels: Path) -> None:
    version = llama().api._lib.ggml_version
    version.restype = ctypes.c_char_p
    assert f'CGK_GGML_VERSION "{version().decode()}"' in (kernels / "ggml" / "abi.h").read_text()


def test_tensors_and_numbers_are_those_of_the_public_headers(cxx: str, kernels: Path, tmp_path: Path) -> None:
    done = compiled(cxx, kernels, tmp_path / "check", f"-I{public_headers()}")
    assert done.returncode == 0, done.stderr


def test_everything_is_that_of_the_internal_headers(cxx: str, kernels: Path, tmp_path: Path) -> None:
    if not SOURCE.is_dir():
        pytest.skip("the source of llama.cpp is not in build/llama.cpp")
    folders = [f"-I{SOURCE / folder}" for folder in ("include", "src", "src/ggml-cpu")]
    done = compiled(cxx, kernels, tmp_path / "check", "-DINTERNAL", *folders)
    assert done.returncode == 0, done.stderr
    assert check(tmp_path / "check") == (0, "")


@pytest.mark.parametrize(
    "edit", [("int32_t flags;", "int64_t flags;"), ("name[64];", "name[56];"), ("MUL_MAT = 29", "MUL_MAT = 30")]
)
def test_another_layout_does_not_compile(edit: tuple[str, str], cxx: str, kernels: Path, tmp_path: Path) -> None:
    copy = tmp_path / "kernels"
    shutil.copytree(kernels, copy)
    abi = copy / "ggml" / "abi.h"
    assert abi.read_text().count(edit[0]) == 1
    abi.write_text(abi.read_text().replace(*edit))
    assert "static assertion failed" in compiled(cxx, copy, tmp_path / "check", f"-I{public_headers()}").stderr
