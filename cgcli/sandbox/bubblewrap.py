"""The sandbox: what `bwrap` is told, so that a program sees the interpreter, an empty home, and what the user named.

It has mount, pid, ipc, uts, cgroup and network namespaces of its own, no privileges and no way to any, and a filter of
system calls. An ordinary caller's sandbox has a user namespace. Root's has none: the kernel binds no limit of processes
to root, whatever its name inside, and opens root's files to it. There bubblewrap itself works as root, and the program
becomes a user that nobody else is (users.py), before its interpreter starts.

Not covered: without a control group (groups.py) some memory of the kernel's own, side channels, and bugs of the kernel.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cgcli.core.errors import SandboxError
from cgcli.sandbox import opened, seccomp, users
from cgcli.sandbox.groups import control_group
from cgcli.sandbox.interpreter import Interpreter, command
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.watch import Start

HOME = Path("/home")
_PACKAGES = Path("/packages")
_IN_MEMORY = {HOME: 64 * 1024**2, Path("/tmp"): 64 * 1024**2, Path("/dev/shm"): 32 * 1024**2}
"""Its own folders, and how many bytes the files in each may have."""
_WHERE = "/usr/local/bin:/usr/bin:/bin"
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Beside /usr; on most systems links into it."""
_ETC = ("ld.so.cache", "alternatives", "localtime")
_ETC_NETWORK = ("resolv.conf", "hosts", "nsswitch.conf", "services", "ssl", "ca-certificates")
_INIT = ("sh", "-c", '"$@"; exit $?', "init")
"""Process 1: waits for all others, so that their processor time is known at the end. bubblewrap's own does not tell."""
_KERNEL = (5, 14)
_VARIABLES = {
    "PATH": "/usr/bin:/bin",
    "HOME": str(HOME),
    "USER": "user",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    # Libraries of linear algebra take address space for each of their threads.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


@contextmanager
def in_sandbox(
    source: bytes, name: str, arguments: Sequence[str], policy: Policy, checks: Sequence[str] = ()
) -> Iterator[Start]:
    """The program as `name` in its home. Raises SandboxError where there is no bubblewrap or no libseccomp, UsageError
    where `policy` opens what no sandbox can have."""
    if sys.platform != "linux":
        raise SandboxError(f"the sandbox needs Linux, not {sys.platform}", hint="run without a sandbox: --unsafe")
    if not users.becomes_another() and _kernel() < _KERNEL:
        # Before, a limit of processes counted all that the user runs.
        raise SandboxError(
            f"the sandbox needs Linux 5.14 or later, not {os.uname().release}",
            hint="upgrade the kernel, or run as root",
        )
    bwrap = shutil.which("bwrap", path=_WHERE)
    if bwrap is None:
        raise SandboxError("bubblewrap is not installed, so there is no sandbox", hint="apt-get install bubblewrap")
    for opening in (*policy.read, *policy.write):
        opened.check(opening)
    interpreter = Interpreter.own()
    path = str(_place(Path(name).name, policy))
    with ExitStack() as stack:
        ours, theirs = map(stack.enter_context, socket.socketpair())
        text = stack.enter_context(_held(source))
        calls = stack.enter_context(_held(seccomp.program(policy.network, policy.unix_sockets)))
        user = None
        if users.becomes_another():
            user = stack.enter_context(users.claimed())
            stack.callback(opened.give_back, policy.write, user)
        report = theirs.fileno()
        words = [bwrap, "--seccomp", str(calls), *_namespaces(policy, user), *_files(interpreter, policy)]
        words += ["--perms", "0755", "--dir", str(Path(path).parent)]
        words += ["--perms", "0444", "--ro-bind-data", str(text), path, "--remount-ro", "/", "--chdir", str(HOME), "--"]
        words += [*_INIT, *_becoming(user)]
        words += command(
            interpreter.executable, path, Path(name).name, arguments, policy, checks, report=report, sandbox=True
        )
        yield Start(
            words,
            ours,
            (report, text, calls),
            isolated=True,
            environment=_VARIABLES,
            memory_folders=_memory_folders(policy),
            group=stack.enter_context(control_group(policy.memory_bytes, policy.processes)),
        )


def _place(name: str, policy: Policy) -> Path:
    """Where the program is: in its home, or elsewhere where that is a folder of the user's without such a file."""
    for path in (*policy.read, *policy.write):
        if _inside(path) == HOME and not (path / name).exists():
            return _PACKAGES / name
    return HOME / name


def _inside(path: Path) -> Path:
    """Where the program sees it."""
    return Path(os.path.normpath(HOME / path))


def _kernel() -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])


def _namespaces(policy: Policy, user: int | None) -> list[str]:
    kinds = ["ipc", "pid", "uts", "cgroup-try"]
    if not policy.network:
        kinds.append("net")
    privileges = ["--cap-drop", "ALL"]
    if user is not None:  # for `_becoming`, which gives them up
        privileges += [word for name in ("SETUID", "SETGID", "SETPCAP") for word in ("--cap-add", f"CAP_{name}")]
    else:
        kinds.append("user")
        if os.geteuid() == 0:  # nobody's root inside
            privileges += ["--uid", str(users.USERS[0]), "--gid", str(users.USERS[0])]
    return [
        "--as-pid-1", "--die-with-parent", "--new-session", "--hostname", "sandbox", *privileges,
        *(f"--unshare-{kind}" for kind in kinds),
    ]  # fmt: skip


def _becoming(user: int | None) -> list[str]:
    """What root's program becomes another user by."""
    if user is None:
        return []
    return [
        "setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--inh-caps=-all",
        "--bounding-set=-all", "--",
    ]  # fmt: skip


def _files(interpreter: Interpreter, policy: Policy) -> list[str]:
    words = ["--proc", "/proc", "--dev", "/dev"]
    words += [word for path, size in _IN_MEMORY.items() for word in _tmpfs(path, size)] + ["--remount-ro", "/dev"]
    words += _seen(Path("/usr"))
    for folder in (Path("/", name) for name in _SYSTEM):
        if folder.is_symlink():
            words += ["--symlink", str(folder.readlink()), str(folder)]
        else:
            words += _seen(folder)
    for name in _ETC + (_ETC_NETWORK if policy.network else ()):
        words += _seen(Path("/etc", name))
    for prefix in interpreter.prefixes:
        if not prefix.is_relative_to("/usr"):
            words += _seen(prefix)
    for name, place in interpreter.packages.items():
        words += _bound("--ro-bind", place, _PACKAGES / name)
    for kind, paths in (("--ro-bind", policy.read), ("--bind", policy.write)):
        for path in paths:
            words += _bound(kind, path.absolute(), _inside(path))
    return words


def _memory_folders(policy: Policy) -> tuple[str, ...]:
    """Its own folders, but for those that the user's stand over."""
    over = {_inside(path) for path in (*policy.read, *policy.write)}
    return tuple(str(path.relative_to("/")) for path in _IN_MEMORY.keys() - over)


def _seen(path: Path) -> list[str]:
    return _bound("--ro-bind-try", path, path)


def _bound(kind: str, source: Path, path: Path) -> list[str]:
    """`source` as `path`; folders above it are made, that bubblewrap itself would make for its own user alone."""
    folders = [word for one in reversed(path.parents[:-1]) for word in ("--perms", "0755", "--dir", str(one))]
    return [*folders, kind, str(source), str(path)]


def _tmpfs(path: Path, size: int) -> list[str]:
    return ["--perms", "0777", "--size", str(size), "--tmpfs", str(path)]


@contextmanager
def _held(data: bytes) -> Iterator[int]:
    """A descriptor to read `data` from."""
    descriptor = os.memfd_create("cgcli")
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
