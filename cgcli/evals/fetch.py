"""Benchmark data files: downloaded once and checked against their published hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cgcli.core.config import Environment
from cgcli.core.errors import NetworkError
from cgcli.core.files import disk_error, write_atomic
from cgcli.core.progress import Progress

if TYPE_CHECKING:
    from http.client import HTTPResponse

_TIMEOUT_S = 30.0
_CHUNK = 1 << 16  # bytes
_BY_HAND = "download the file yourself and pass it with --data FILE"


@dataclass(frozen=True)
class PublishedFile:
    """A data file as its authors published it."""

    name: str
    url: str
    size: int  # bytes
    sha256: str  # hexadecimal
    licence: str  # SPDX identifier


def fetch(file: PublishedFile, environment: Environment, progress: Progress) -> Path:
    """Return the path of the file, downloading it if it is missing or damaged.

    Raises NetworkError if the download fails or does not match the published hash, CgcliError for disk errors.
    """
    path = environment.data / "evals" / file.name
    try:
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256:
            return path
    except OSError as error:
        raise disk_error(path, error) from error
    if environment.flag("HF_HUB_OFFLINE"):
        raise NetworkError(f"cannot download {file.url}: HF_HUB_OFFLINE is set", hint=_BY_HAND)
    data = _download(file, progress)
    found = hashlib.sha256(data).hexdigest()
    if found != file.sha256:
        raise NetworkError(f"{file.url} has the SHA-256 {found}, not {file.sha256}", hint=_BY_HAND)
    write_atomic(path, data)
    return path


def _download(file: PublishedFile, progress: Progress) -> bytes:
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import urlopen

    data = bytearray()
    try:
        with progress.task(file.name, file.size) as task:
            response: HTTPResponse
            with urlopen(file.url, timeout=_TIMEOUT_S) as response:
                while len(data) <= file.size and (chunk := response.read(_CHUNK)):
                    data += chunk
                    task.advance(len(chunk))
    except (HTTPException, OSError) as error:  # urllib's errors are OSErrors
        if isinstance(error, HTTPError):
            error.close()
        reason = getattr(error, "reason", None) or error
        raise NetworkError(f"cannot download {file.url}: {reason}", hint=_BY_HAND) from error
    return bytes(data)
