"""Where servers and clients meet: a socket per model file and engine settings, in a folder that only the user can open.

A server holds a lock beside its socket while it lives. What a killed server leaves behind refuses connections at once,
and the next server takes its place.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cgcli.core.errors import CgcliError

_MOST = 100  # bytes of a socket's address; Linux allows 107, macOS 103


def server_key(model: Path, settings: Mapping[str, object]) -> str:
    """Names the servers that may stand in for an engine with this model file and these settings. Raises OSError."""
    found = model.stat()
    what = [str(model.resolve()), found.st_size, found.st_mtime_ns, dict(settings)]
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Place:
    """The files of a server."""

    folder: Path
    key: str

    @property
    def socket(self) -> Path:
        return self.folder / f"{self.key}.sock"

    @property
    def lock(self) -> Path:
        return self.folder / f"{self.key}.lock"


def places(folder: Path) -> list[Place]:
    """The places in the folder at which a server is or was."""
    return [Place(folder, path.stem) for path in sorted(folder.glob("*.sock"))]


def make_private(folder: Path) -> None:
    """Make the folder, open to the user alone. Raises CgcliError if it is another user's, or OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not is_own(folder):
        raise CgcliError(f"{folder} belongs to another user", hint="set XDG_RUNTIME_DIR to a folder of your own")
    if stat.S_IMODE(folder.stat().st_mode) != 0o700:
        folder.chmod(0o700)


def is_own(path: Path) -> bool:
    """Whether a file is the user's own, and no link to elsewhere."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return found.st_uid == os.getuid() and not stat.S_ISLNK(found.st_mode)


@contextmanager
def address(path: Path) -> Iterator[str]:
    """An address for a socket at `path`, which may be longer than an address can be. Raises OSError."""
    if len(os.fsencode(path)) <= _MOST:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


def listen(path: Path) -> socket.socket:
    """A socket at `path`, in place of one that nobody listens at. Only for the user. Raises OSError."""
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with address(path) as where:
            listening.bind(where)
        path.chmod(0o600)
        listening.listen(64)
    except BaseException:
        listening.close()
        raise
    return listening


def peer_is_own(connection: socket.socket) -> bool:
    """Whether the process at the other end is the user's own. Where that is not known, the folder alone protects."""
    return _peer(connection)[1] in (os.getuid(), None)


def peer_pid(connection: socket.socket) -> int | None:
    """The process at the other end; None where that is not known."""
    return _peer(connection)[0]


def _peer(connection: socket.socket) -> tuple[int | None, int | None]:
    """The process at the other end, and its user."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None, None
    form = struct.Struct("3i")  # pid, uid, gid
    pid, uid, _ = form.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, form.size))
    return pid, uid
