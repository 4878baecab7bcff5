"""The wheel as a user gets it: an empty virtual environment elsewhere, no checkout, the real index, the real model."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from cgcli import __version__

pytestmark = pytest.mark.long

REPOSITORY = Path(__file__).parents[2]


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        cwd="/",
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # A build folder of its own: the one of the editable install stays as it is.
    build = f"--config-settings=build-dir={folder / 'build'}"
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", build, "--wheel-dir", folder, REPOSITORY)
    (made,) = folder.glob("cgcli-*.whl")
    return made


def test_what_is_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {str(file.relative_to(REPOSITORY)) for file in (REPOSITORY / "cgcli").rglob("*.py")}
    assert sources <= names
    models = {str(file.relative_to(REPOSITORY)) for file in (REPOSITORY / "models").rglob("*") if file.is_file()}
    assert {f"cgcli/{name}" for name in models} <= names
    for library in ("libcgk.", "libcgk_ggml."):
        assert {name for name in names if name.startswith(f"cgcli/native/{library}")}
    assert {name.partition("/")[0] for name in names} == {"cgcli", f"cgcli-{__version__}.dist-info"}


def test_it_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    venv.create(place, with_pip=True)
    llama = run(sys.executable, REPOSITORY / "kernels" / "llama" / "build_wheel.py").stdout.strip()
    run(place / "bin" / "python", "-m", "pip", "install", "--quiet", llama, wheel)
    cgcli, home = place / "bin" / "cgcli", {"CGCLI_HOME": str(tmp_path / "home")}

    assert run(cgcli, "--version", **home).stdout == f"cgcli {__version__}\n"
    assert "smollm2-135m" in run(cgcli, "models", **home).stdout
    ast.parse(run(cgcli, "gen", "-m", "codegen-nano", "a list with ten numbers", "-t", "0", **home).stdout)
    run(cgcli, "pull", "smollm2-135m", **home)
    assert run(cgcli, "models", "path", "smollm2-135m", **home).stdout.startswith(str(tmp_path / "home"))
    done = run(cgcli, "gen", "print the first ten square numbers", "--seed", "1", "-t", "0", **home)
    assert "# print the first ten square numbers\n" in done.stdout
    ast.parse(done.stdout)
    run(cgcli, "doctor", **home)
    assert run(place / "bin" / "python", "-m", "cgcli", "--version").stdout == f"cgcli {__version__}\n"
