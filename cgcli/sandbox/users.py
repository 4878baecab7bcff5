"""The user IDs under which root's programs run: unprivileged, and different in every sandbox at the same time.

The kernel counts limits of processes per user, and the files that a program leaves are known by its user ID.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from cgcli.core.errors import SandboxError

#: The IDs that systemd reserves for short-lived services (systemd.exec(5), DynamicUser).
USERS = range(61184, 65520)
#: SETGID, SETUID, SETPCAP and SYS_ADMIN (linux/capability.h): needed to change the user and to run bubblewrap as root.
_CAPABILITIES = sum(1 << number for number in (6, 7, 8, 21))


@cache
def runs_as_another_user() -> bool:
    """Whether programs run as another user: root's do, if this root may become any of USERS.

    Root of a namespace with a single user, as `unshare -Ur` makes it, is an ordinary user that sees itself as root.
    """
    if os.geteuid() != 0 or not all(map(_has_all, ("uid_map", "gid_map"))) or _own_proc_file("setgroups") == "deny":
        return False
    status = dict(line.split(":", 1) for line in _own_proc_file("status").splitlines())
    return int(status.get("CapEff", "0"), 16) & _CAPABILITIES == _CAPABILITIES


@contextmanager
def claimed_user() -> Iterator[int]:
    """A user ID that no other sandbox has until the context ends. Raises SandboxError if all are in use.

    The claim is the name of an abstract socket: the kernel allows each name once, and drops it with this process.
    """
    start = random.SystemRandom().randrange(len(USERS))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
        for number in (*USERS[start:], *USERS[:start]):
            try:
                claim.bind(f"\0cgcli-user-{number}")
            except OSError:
                continue
            yield number
            return
    raise SandboxError(f"all {len(USERS)} user IDs for sandboxes are in use", hint="try again later")


def _has_all(mapping: str) -> bool:
    """Whether this namespace maps all of USERS."""
    lines = [tuple(map(int, line.split())) for line in _own_proc_file(mapping).splitlines()]
    return any(first <= USERS[0] and USERS[-1] < first + count for first, _, count in lines)


def _own_proc_file(name: str) -> str:
    return Path("/proc/self", name).read_text("ascii", "replace").strip()
