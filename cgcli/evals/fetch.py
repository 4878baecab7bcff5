"""Benchmarks' files: fetched once from where they are published, and checked against their known hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.core.environment import Environment
from cgcli.core.errors import NetworkError
from cgcli.core.files import disk_error, write_atomic
from cgcli.core.progress import Progress

if TYPE_CHECKING:
    from http.client import HTTPResponse

_LONGEST_S = 30.0
_PIECE = 1 << 16


@dataclass(frozen=True)
class Published:
    """A file as its authors published it. size: in bytes; sha256: hexadecimal; licence: its SPDX name."""

    name: str
    url: str
    size: int
    sha256: str
    licence: str


def fetch(file: Published, environment: Environment, progress: Progress) -> Path:
    """Where the file is, once it is there and whole; what is there and is not so is fetched again.

    Raises NetworkError where it cannot be had, or is not what was published, and CgcliError where the disk says no.
    """
    path = environment.data / "evals" / file.name
    try:
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256:
            return path
    except OSError as error:
        raise disk_error(path, error) from error
    hint = f"get {file.url} elsewhere, and name it with --data FILE"
    if environment.flag("HF_HUB_OFFLINE"):
        raise NetworkError(f"HF_HUB_OFFLINE is set: {file.name} is not downloaded", hint=hint)
    data = _downloaded(file, progress, hint)
    found = hashlib.sha256(data).hexdigest()
    if found != file.sha256:
        raise NetworkError(f"{file.url}: what came has the hash {found}, not {file.sha256}", hint=hint)
    write_atomic(path, data)
    return path


def _downloaded(file: Published, progress: Progress, hint: str) -> bytes:
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import urlopen

    data = bytearray()
    try:
        with progress.task(file.name, file.size) as task:
            answer: HTTPResponse
            with urlopen(file.url, timeout=_LONGEST_S) as answer:
                while len(data) <= file.size and (piece := answer.read(_PIECE)):
                    data += piece
                    task.advance(len(piece))
    except (HTTPException, OSError) as error:  # urllib's own are OSErrors
        if isinstance(error, HTTPError):
            error.close()
        reason = getattr(error, "reason", None) or error
        raise NetworkError(f"{file.url}: {reason}", hint=hint) from error
    return bytes(data)
