"""Installs dist/ as a user does: by pip, pipx or uv, into an empty home, with no compiler on the PATH and no index."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DIST = REPOSITORY / "dist"
METHODS = ("pip", "pipx", "uv")
_PYTHON = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
_COMPILERS = ("cc", "gcc", "clang", "c++", "cmake", "make")


def run(*command: str | Path, variables: dict[str, str], cwd: str | Path = "/") -> subprocess.CompletedProcess[str]:
    """Run a command with these variables alone. It must end well."""
    done = subprocess.run(
        command, cwd=cwd, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


def fetch(folder: Path) -> None:
    """Download what cgcli requires, and the installers, to `folder`/wheels; put each installer into its own folder.

    pipx would use a uv that it finds.
    """
    wheels = folder / "wheels"
    online = dict(os.environ)
    download: list[str | Path] = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:"]
    run(*download, "--find-links", DIST, "--dest", wheels, "cgcli", "pip", "pipx", "uv", variables=online)
    for own in DIST.iterdir():
        (wheels / own.name).unlink(missing_ok=True)
    for method in METHODS:
        tools = folder / method
        run(_PYTHON, "-m", "venv", tools, variables=online)
        pip = tools / "bin" / "pip"
        run(pip, "install", "--quiet", "--no-index", "--find-links", wheels, method, variables=online)


@dataclass(frozen=True)
class Machine:
    """A user's machine: an empty home, what `fetch` has put into a folder, and one of the installers."""

    home: Path
    fetched: Path
    method: str = "uv"

    @property
    def variables(self) -> dict[str, str]:
        """The user's variables."""
        path = str(self.fetched / self.method / "bin")
        assert not [name for name in _COMPILERS if shutil.which(name, path=path)]
        local = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": str(self.fetched / "wheels")}
        return {"PATH": path, "HOME": str(self.home), "LANG": "C.UTF-8", "NO_COLOR": "1", "UV_OFFLINE": "1", **local}

    def install(self) -> Path:
        """Install cgcli with the commands of docs/install.md, and return the command that a user then types."""
        variables, installer = self.variables, self.fetched / self.method / "bin" / self.method
        if self.method == "pip":
            place = self.home / "cgcli"
            run(_PYTHON, "-m", "venv", place, variables=variables)
            run(place / "bin" / "pip", "install", "--find-links", DIST, "cgcli", variables=variables)
            return place / "bin" / "cgcli"
        if self.method == "pipx":
            run(installer, "install", f"--pip-args=--find-links {DIST}", "cgcli", variables=variables)
        else:
            # uv takes no second folder from a variable.
            links: list[str | Path] = ["--find-links", DIST, "--find-links", self.fetched / "wheels", "--no-index"]
            run(installer, "tool", "install", "--python", _PYTHON, *links, "cgcli", variables=variables)
        return self.home / ".local" / "bin" / "cgcli"
