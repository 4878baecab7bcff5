"""The user that root's program becomes: a new one each time, and no two sandboxes at a time have the same.

Limits of processes are counted by user, and files that a program leaves are known by theirs.
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

USERS = range(61184, 65520)
"""Numbers that systemd keeps for services that exist for a moment (systemd.exec(5), DynamicUser)."""
_CAPABILITIES = sum(1 << number for number in (6, 7, 8, 21))
"""SETGID, SETUID, SETPCAP and SYS_ADMIN (linux/capability.h): what changing the user takes, and bubblewrap as root."""


@cache
def becomes_another() -> bool:
    """Whether a program becomes another user: root's does, where root may become any of them.

    Root of a namespace with one user alone, as `unshare -Ur` makes it, is an ordinary user that sees itself as root.
    """
    if os.geteuid() != 0 or not all(map(_has_all, ("uid_map", "gid_map"))) or _of_own("setgroups") == "deny":
        return False
    status = dict(line.split(":", 1) for line in _of_own("status").splitlines())
    return int(status.get("CapEff", "0"), 16) & _CAPABILITIES == _CAPABILITIES


@contextmanager
def claimed() -> Iterator[int]:
    """A number that no other sandbox has until this ends. The kernel keeps the claim, and drops it with this process:
    of an abstract socket's name there is one at a time."""
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
    """Whether this namespace has all of USERS."""
    lines = [tuple(map(int, line.split())) for line in _of_own(mapping).splitlines()]
    return any(first <= USERS[0] and USERS[-1] < first + count for first, _, count in lines)


def _of_own(name: str) -> str:
    return Path("/proc/self", name).read_text("ascii", "replace").strip()
