"""The Python that runs programs: where it is, what it needs to see of this machine, and the command that starts it."""

from __future__ import annotations

import math
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cgcli.sandbox.policy import Policy

#: Files and folders of site-packages that programs may import beside the standard library, if installed.
PACKAGES = ("numpy", "numpy.libs", "pandas", "pandas.libs", "dateutil", "pytz", "six.py", "tzdata")
_FILE_BYTES = 256 * 1024**2
_OPEN_FILES = 256
#: Margin of the kernel's own limit on processor time, which counts each process alone and in whole seconds: a backstop.
#: The kernel estimates the time by its ticks, so that on a busy machine it can be reached before the measured limit.
_LATE_S = 2


@dataclass(frozen=True)
class Interpreter:
    """An installed Python."""

    executable: Path  # the base interpreter of the running virtual environment
    prefixes: tuple[Path, ...]  # folders that it needs to see
    packages: dict[str, Path]  # those of PACKAGES that this process can import, and where they are

    @classmethod
    @cache
    def own(cls) -> Interpreter:
        """The interpreter of this process."""
        # Not in typeshed: the base interpreter of a virtual environment.
        executable = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
        prefixes = tuple({Path(sys.base_prefix).resolve(), Path(sys.base_exec_prefix).resolve()})
        found: dict[str, Path] = {}
        for folder in map(Path, sys.path):
            if folder.name in {"site-packages", "dist-packages"}:
                found = {name: folder / name for name in PACKAGES if (folder / name).exists()} | found
        return cls(executable, prefixes, found)


def interpreter_facts(*, unsafe: bool) -> dict[str, str | None]:
    """The versions that verdicts depend on: of Python, numpy and pandas; None for what programs cannot import."""
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    facts: dict[str, str | None] = {"python": f"{platform.python_implementation()} {platform.python_version()}"}
    for name in ("numpy", "pandas"):
        found = find_spec(name) is not None if unsafe else name in Interpreter.own().packages
        try:
            facts[name] = version(name) if found else None
        except PackageNotFoundError:
            facts[name] = "unknown version"
    return facts


def starter_command(
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
    """The command that runs the program in the file `source` under `executable`, by way of starter.py.

    `report` is the descriptor that the starter reports to.
    """
    settings = {
        "report": report,
        "checks": len(checks),
        "lingers": int(policy.lingers),
        "names": int(policy.names),
        "sandbox": int(sandbox),
        "cpu": math.ceil(policy.cpu_s) + _LATE_S,
        "memory": policy.memory_bytes,
        "file": _FILE_BYTES,
        "files": _OPEN_FILES,
        "processes": policy.processes + 1,  # process 1, which waits for it
    }
    words = ",".join(f"{key}={value}" for key, value in settings.items())
    switches = "-IBS" if sandbox else "-IB"
    return [str(executable), switches, "-c", _starter(), words, source, name, *checks, *arguments]


@cache
def _starter() -> str:
    return Path(__file__).with_name("starter.py").read_text("utf-8")
