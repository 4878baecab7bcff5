"""The builder of llama-cpp-python's wheel, with the real pip and a package of the same name that builds in a moment."""

from __future__ import annotations

import fcntl
import importlib.util
import io
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.patience import PATIENCE_S

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "kernels" / "llama" / "build_wheel.py"

# A build backend that prints steps as ninja does, and puts the CMake options into the wheel.
BACKEND = """
import os, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    if "-DFAIL=ON" in os.environ["CMAKE_ARGS"]:
        raise SystemExit("the compiler said no")
    for step in (1, 2):
        print(f"  [{step}/2] Building C object x.c.o", flush=True)
    name = "llama_cpp_python-VERSION-py3-none-any.whl"
    info = "llama_cpp_python-VERSION.dist-info"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.writestr("options", os.environ["CMAKE_ARGS"])
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: llama-cpp-python\\nVersion: VERSION\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_wheel", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def surroundings(tmp_path: Path, script: ModuleType) -> dict[str, str]:
    """Variables under which pip finds only our package, and the cache is the test's own."""
    version = script.requirement(REPOSITORY / "pyproject.toml").partition("==")[2]
    root = f"llama_cpp_python-{version}"
    files = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: llama-cpp-python\nVersion: {version}\n",
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": BACKEND.replace("VERSION", version),
    }
    links = tmp_path / "links"
    links.mkdir()
    with tarfile.open(links / f"{root}.tar.gz", "w:gz") as sdist:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"{root}/{name}")
            entry.size = len(text.encode())
            sdist.addfile(entry, io.BytesIO(text.encode()))
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(links), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return {**os.environ, **pip, "XDG_CACHE_HOME": str(tmp_path / "cache"), "CMAKE_ARGS": "-DMINE=1"}


def run(surroundings: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *options]
    return subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def kept(tmp_path: Path) -> list[Path]:
    """What is in the cache beside the locks."""
    folder = tmp_path / "cache" / "cgcli" / "wheels"
    return [one for one in folder.iterdir() if one.suffix != ".lock"]


def test_built_once_with_our_options_and_the_users(surroundings: dict[str, str], tmp_path: Path) -> None:
    first = run(surroundings)
    assert first.returncode == 0, first.stderr
    wheel = Path(first.stdout.strip())
    options = zipfile.ZipFile(wheel).read("options").decode()
    assert "-DMINE=1" in options and "-DLLAVA_BUILD=OFF" in options and "llama.cmake" in options
    assert "for this machine, once" in first.stderr
    wheel.write_bytes(b"as it was")
    second = run(surroundings)
    assert (second.returncode, second.stdout, second.stderr) == (0, first.stdout, "")
    assert wheel.read_bytes() == b"as it was"
    # Other options are another wheel.
    assert run(surroundings | {"CMAKE_ARGS": ""}).stdout != first.stdout
    assert len(kept(tmp_path)) == 2


def test_the_portable_one_will_do_where_the_other_is_not_built(
    surroundings: dict[str, str], script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    portable = script.place(script.PORTABLE)
    portable.mkdir(parents=True)
    (portable / "portable.whl").touch()
    assert run(surroundings).stdout == f"{portable}/portable.whl\n"
    native = run(surroundings, "--native").stdout
    assert native != f"{portable}/portable.whl\n" and run(surroundings).stdout == native


def test_a_wheel_that_cannot_be_made_portable_is_not_kept(surroundings: dict[str, str], tmp_path: Path) -> None:
    # A wheel without a library is no work for auditwheel, if that is installed at all.
    failed = run(surroundings, "--portable")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.splitlines()[-1] == "auditwheel failed with status 1"
    assert kept(tmp_path) == []


def test_a_failed_build_shows_the_logs_end_and_leaves_nothing(surroundings: dict[str, str], tmp_path: Path) -> None:
    failed = run(surroundings | {"CMAKE_ARGS": "-DFAIL=ON"})
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "the compiler said no" in failed.stderr
    assert failed.stderr.splitlines()[-1].startswith("building llama-cpp-python==")
    assert kept(tmp_path) == []


def test_what_a_killed_build_left_goes(surroundings: dict[str, str], tmp_path: Path) -> None:
    wheel = Path(run(surroundings).stdout.strip())
    left = wheel.parent.with_name(f".{wheel.parent.name}.left")
    wheel.parent.rename(left)
    assert run(surroundings).returncode == 0
    assert kept(tmp_path) == [wheel.parent]


def test_two_at_once_are_one_build_and_one_wait(surroundings: dict[str, str], script: ModuleType) -> None:
    wheel = Path(run(surroundings).stdout.strip())
    lock = wheel.parent.with_name(wheel.parent.name + ".lock")
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        waiting = subprocess.Popen(
            [sys.executable, str(SCRIPT)], env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert waiting.stderr is not None
        assert "waiting for another build" in waiting.stderr.readline()
        time.sleep(0.1)
        assert waiting.poll() is None
    out, _ = waiting.communicate(timeout=PATIENCE_S)
    assert Path(out.strip()) == wheel


def test_a_missing_compiler_is_one_line(surroundings: dict[str, str]) -> None:
    failed = run(surroundings | {"CXX": "no-such-compiler"})
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == "compiler not found: no-such-compiler; install one, or set CXX\n"


def test_steps_are_read_as_ninja_and_make_write_them(script: ModuleType) -> None:
    say = script.Progress("building")
    shown = []
    for line in (
        "Collecting llama-cpp-python==0.3.36",
        "  Preparing metadata (pyproject.toml): started",
        "  -- CMAKE_BUILD_TYPE=Release",
        "  [7/187] /usr/bin/c++ -O3 x.cpp",
        "  Preparing metadata (pyproject.toml): never goes back",
        "  [ 45%] Building CXX object x.cpp.o",
    ):
        say.read(line)
        shown.append(say.phase)
    assert shown == [
        "downloading",
        "configuring",
        "configuring",
        "compiling, 7 of 187 steps",
        "compiling, 7 of 187 steps",
        "compiling, 45 %",
    ]


def test_every_part_of_the_key_counts(script: ModuleType) -> None:
    assert len({script.key(*parts) for parts in (("a", "b"), ("ab", ""), ("a", "c"), ("a", "b", ""))}) == 4
