"""dist/, which `make dist` builds: what is in its wheels, and cgcli as they install it where there is no compiler."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from cgcli import __version__
from tests.e2e.test_nano import GOLDEN, PROMPTS
from tests.support.installing import DIST, METHODS, REPOSITORY, Machine, fetch, run

pytestmark = pytest.mark.long

NANO = ("gen", "-m", "codegen-nano", "-t", "0", "--exact", *PROMPTS)


@pytest.fixture(scope="module")
def wheels() -> list[Path]:
    """The two wheels: cgcli's, and llama-cpp-python's."""
    found = sorted(DIST.glob("*.whl"))
    assert [one.name.partition("-")[0] for one in found] == ["cgcli", "llama_cpp_python"], "run make dist"
    return found


@pytest.fixture(scope="session")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the installers need, downloaded once for all test processes."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "fetched"
    with FileLock(f"{folder}.lock"):
        if not (folder / "whole").exists():
            fetch(folder)
            (folder / "whole").touch()
    return folder


@pytest.fixture
def machine(tmp_path: Path, fetched: Path) -> Machine:
    (tmp_path / "user").mkdir()
    return Machine(tmp_path / "user", fetched)


@pytest.fixture
def libraries(machine: Machine) -> Path:
    """The folder of llama.cpp's libraries, installed on the machine."""
    machine.install()
    (llama,) = machine.home.glob(".local/share/uv/tools/cgcli/lib/python*/site-packages/llama_cpp/lib")
    return llama


def test_what_is_in_cgclis_wheel(wheels: list[Path]) -> None:
    names = set(zipfile.ZipFile(wheels[0]).namelist())
    sources = {str(file.relative_to(REPOSITORY)) for file in (REPOSITORY / "cgcli").rglob("*.py")}
    assert sources <= names
    models = {str(file.relative_to(REPOSITORY)) for file in (REPOSITORY / "models").rglob("*") if file.is_file()}
    assert {f"cgcli/{name}" for name in models} <= names
    assert {"cgcli/native/libcgk.so", "cgcli/native/libcgk_ggml.so"} <= names
    assert f"cgcli-{__version__}.dist-info/licenses/LICENSE" in names
    assert {name.partition("/")[0] for name in names} == {"cgcli", f"cgcli-{__version__}.dist-info"}


def test_each_library_of_llama_cpp_is_there_once(wheels: list[Path]) -> None:
    with zipfile.ZipFile(wheels[1]) as archive:
        libraries = [name for name in archive.namelist() if ".so" in name]
        contents = {hashlib.sha256(archive.read(name)).digest() for name in libraries}
    assert len(contents) == len(libraries)
    assert {"llama_cpp/lib/libllama.so", "llama_cpp/lib/libggml.so", "llama_cpp/lib/libggml-base.so"} <= set(libraries)
    assert len([name for name in libraries if "libggml-cpu-" in name]) > 10


def test_every_library_has_its_licence(wheels: list[Path]) -> None:
    licences = {name.partition("/licenses/")[2] for name in zipfile.ZipFile(wheels[1]).namelist()}
    assert {"LICENSE.md", "llama.cpp/LICENSE", "libgomp/COPYING3", "libgomp/COPYING.RUNTIME"} <= licences


def test_the_wheels_bring_what_they_link(wheels: list[Path], tmp_path: Path) -> None:
    for wheel in wheels:
        assert re.search(r"-manylinux_2_\d+_x86_64", wheel.name)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(tmp_path / wheel.name)
        shown = run(sys.executable, "-m", "auditwheel", "show", wheel, variables=dict(os.environ)).stdout
        tag = re.search(r'consistent with the following platform tag: "(\w+)"', " ".join(shown.split()))
        assert tag and tag[1] in wheel.name, shown
        for library in (tmp_path / wheel.name).rglob("*.so*"):
            linked = run("readelf", "--dynamic", library, variables=dict(os.environ)).stdout
            assert "[libgomp.so.1]" not in linked, library  # the system's


@pytest.mark.parametrize("method", METHODS)
def test_it_writes_a_program_where_there_is_no_compiler(method: str, machine: Machine, wheels: list[Path]) -> None:
    machine = replace(machine, method=method)
    cgcli = machine.install()
    assert run(cgcli, *NANO, variables=machine.variables).stdout.encode() == GOLDEN.read_bytes()
    findings = json.loads(run(cgcli, "doctor", "--json", variables=machine.variables).stdout)
    assert not [one for one in findings if one["broken"]]
    assert run(cgcli, "--version", variables=machine.variables).stdout == f"cgcli {__version__}\n"
    # From the index, also where there is no pip.
    online = {name: value for name, value in os.environ.items() if not name.startswith("CGCLI_")}
    own = {name: value for name, value in machine.variables.items() if not name.startswith(("PIP_", "UV_"))}
    run(cgcli, "pull", "smollm2-135m", variables={**online, **own})
    done = run(cgcli, "gen", "print the first ten square numbers", "--seed", "1", "-t", "0", variables=own)
    assert "# print the first ten square numbers\n" in done.stdout


def test_every_variant_writes_the_same_program(libraries: Path, machine: Machine) -> None:
    cgcli = machine.home / ".local" / "bin" / "cgcli"
    written = 0
    for variant in sorted(path.stem.removeprefix("libggml-cpu-") for path in libraries.glob("libggml-cpu-*.so")):
        variables = {**machine.variables, "CGCLI_CPU_VARIANT": variant}
        done = subprocess.run([cgcli, *NANO], env=variables, capture_output=True, check=False)
        if b"this processor cannot run" in done.stderr:
            assert done.returncode == 2
            continue
        assert done.stdout == GOLDEN.read_bytes(), variant
        found = json.loads(run(cgcli, "doctor", "--json", variables=variables).stdout)
        (named,) = [one for one in found if one["name"] == "CPU variant"]
        assert named["value"].startswith(f"{variant}, as CGCLI_CPU_VARIANT says")
        assert (named["hint"] == "unset CGCLI_CPU_VARIANT") == ("does not use this processor's" in named["value"])
        written += 1
    assert written > 1


def test_on_an_older_processor(libraries: Path, machine: Machine) -> None:
    qemu = shutil.which("qemu-x86_64")
    if not qemu:
        pytest.skip("needs qemu-x86_64")
    python = machine.home / ".local" / "share" / "uv" / "tools" / "cgcli" / "bin" / "python"
    emulated: list[str | Path] = [qemu, "-cpu", "Haswell", python]
    assert run(*emulated, "-m", "cgcli", *NANO, variables=machine.variables).stdout.encode() == GOLDEN.read_bytes()
    variant = "from cgcli.engine.binding import llama; print(llama().cpu.variant)"
    assert run(*emulated, "-c", variant, variables=machine.variables).stdout == "haswell\n"


# Runs as soon as it is loaded.
HOSTILE = """
#include <fcntl.h>
__attribute__((constructor)) static void run(void) { open("ran", O_CREAT | O_WRONLY, 0600); }
int ggml_backend_score(void) { open("ran", O_CREAT | O_WRONLY, 0600); return 1 << 30; }
"""
LLAMA_ALONE = "import llama_cpp; llama_cpp.llama_backend_init(); llama_cpp.llama_supports_gpu_offload()"


def test_libraries_of_the_current_directory_are_not_loaded(libraries: Path, machine: Machine, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (tmp_path / "hostile.c").write_text(HOSTILE)
    for name in ("cpu-hostile", "cpu-zen4", "cpu", "blas", "blas-x", "cuda", "base"):
        library = here / f"libggml-{name}.so"
        run("cc", "-shared", "-fPIC", tmp_path / "hostile.c", "-o", library, variables=dict(os.environ))
    cgcli = machine.home / ".local" / "bin" / "cgcli"
    python = libraries.parents[4] / "bin" / "python"
    commands: list[list[str | Path]] = [[cgcli, "doctor"], [cgcli, *NANO], [python, "-c", LLAMA_ALONE]]
    for command in commands:
        run(*command, variables=machine.variables, cwd=here)
        assert not (here / "ran").exists(), command
    # What the test watches for happens where llama.cpp is loaded without its package.
    careless = f"import ctypes; ctypes.CDLL({str(libraries / 'libllama.so')!r}).llama_backend_init()"
    run(python, "-c", careless, variables=machine.variables, cwd=here)
    assert (here / "ran").exists()
