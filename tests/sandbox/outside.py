"""Things outside the sandbox while it is attacked: files, services, variables."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

NAMESPACES = ("cgroup", "ipc", "net", "pid", "uts")


@contextmanager
def outside() -> Iterator[dict[str, str]]:
    """The words that attacking programs use for them, and the values to put in."""
    root = Path(tempfile.mkdtemp(prefix="cgcli-outside-", dir="/tmp"))
    abstract = root.name
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, root)
        read, write, secret = root / "read", root / "write", root / "secret"
        for folder in (root, read, write):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o777)  # what protects them is the sandbox
        (read / "note").write_text("a note")
        (read / "note").chmod(0o666)
        secret.write_text("a secret")
        secret.chmod(0o600)

        def listening(family: int, address: str | tuple[str, int], kind: int = socket.SOCK_STREAM) -> socket.socket:
            one = stack.enter_context(socket.socket(family, kind))
            one.bind(address)
            if kind == socket.SOCK_STREAM:
                one.listen()
            return one

        listening(socket.AF_UNIX, str(read / "socket"))
        (read / "socket").chmod(0o777)
        listening(socket.AF_UNIX, f"\0{abstract}")
        listening(socket.AF_UNIX, f"\0{abstract}-datagram", socket.SOCK_DGRAM)
        port4 = listening(socket.AF_INET, ("127.0.0.1", 0)).getsockname()[1]
        port6 = listening(socket.AF_INET6, ("::1", 0)).getsockname()[1] if _has_ipv6() else 0
        yield {
            "ROOT": str(root),
            "OUTSIDE": str(read),
            "WRITABLE": str(write),
            "SECRET": str(secret),
            "ABSTRACT": abstract,
            "PORT4": str(port4),
            "PORT6": str(port6),
            **{f"NS_{kind}": str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in NAMESPACES},
        }


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True
