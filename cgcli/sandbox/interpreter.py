"""The Python that programs are run with, what of this machine it needs to see, and how it is told to start one."""

from __future__ import annotations

import math
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cgcli.sandbox.policy import Policy

PACKAGES = ("numpy", "numpy.libs", "pandas", "pandas.libs", "dateutil", "pytz", "six.py", "tzdata")
"""What programs may import beside the standard library, where it is installed: files and folders of site-packages."""
_FILE_BYTES = 256 * 1024**2
_OPEN_FILES = 256
_LATE_S = 2
"""The kernel's own limit on processor time counts each process alone and in whole seconds: a backstop behind ours."""


@dataclass(frozen=True)
class Interpreter:
    """executable: the one that the running one's virtual environment was made from; prefixes: what it needs to see.

    packages: where those of PACKAGES are that this process could import.
    """

    executable: Path
    prefixes: tuple[Path, ...]
    packages: dict[str, Path]

    @classmethod
    @cache
    def own(cls) -> Interpreter:
        """That of this process."""
        # Not in typeshed: the interpreter behind a virtual environment's.
        executable = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
        prefixes = tuple({Path(sys.base_prefix).resolve(), Path(sys.base_exec_prefix).resolve()})
        found: dict[str, Path] = {}
        for folder in map(Path, sys.path):
            if folder.name in {"site-packages", "dist-packages"}:
                found = {name: folder / name for name in PACKAGES if (folder / name).exists()} | found
        return cls(executable, prefixes, found)


def interpreter_facts(*, unsafe: bool) -> dict[str, str | None]:
    """What programs are run with, since verdicts depend on it: the Python, and the versions of numpy and pandas, None
    where programs cannot import them."""
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    facts: dict[str, str | None] = {"python": f"{platform.python_implementation()} {platform.python_version()}"}
    for name in ("numpy", "pandas"):
        there = find_spec(name) is not None if unsafe else name in Interpreter.own().packages
        try:
            facts[name] = version(name) if there else None
        except PackageNotFoundError:
            facts[name] = "unknown version"
    return facts


def command(
    executable: Path,
    source: str,
    name: str,
    arguments: Sequence[str],
    policy: Policy,
    checks: Sequence[str] = (),
    *,
    report: int,
    sandbox: bool,
) -> list[str]:
    """The words that start `executable` on the program in the file `source` (see starter.py)."""
    settings = {
        "report": report,
        "checks": len(checks),
        "lingers": int(policy.lingers),
        "sandbox": int(sandbox),
        "cpu": math.ceil(policy.cpu_s) + _LATE_S,
        "memory": policy.memory_bytes,
        "file": _FILE_BYTES,
        "files": _OPEN_FILES,
        "processes": policy.processes + 1,  # the one that waits for it
    }
    words = ",".join(f"{key}={value}" for key, value in settings.items())
    switches = "-IBS" if sandbox else "-IB"
    return [str(executable), switches, "-c", _starter(), words, source, name, *checks, *arguments]


@cache
def _starter() -> str:
    return Path(__file__).with_name("starter.py").read_text("utf-8")
