"""The sandbox: the `bwrap` command under which a program sees an interpreter, an empty home and the opened paths.

The program has mount, pid, ipc, uts, cgroup and network namespaces of its own, a filter of system calls, no privileges
and no way to gain any. An ordinary user's sandbox also has a user namespace. Root's has none: the kernel would still
treat the program as root, not limit its processes and let it open root's files. There bubblewrap runs as root, and the
program becomes an otherwise unused user (root.py) before its interpreter starts.

Not covered: side channels, bugs of the kernel and, without a control group (root.py), some memory of the kernel.
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
from cgcli.sandbox import opened, root, seccomp
from cgcli.sandbox.interpreter import Interpreter, starter_command
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.root import control_group
from cgcli.sandbox.watch import Launch

HOME = Path("/home")
_PACKAGES = Path("/packages")
#: The sandbox's own folders, and the bytes that fit in each.
_IN_MEMORY = {HOME: 64 * 1024**2, Path("/tmp"): 64 * 1024**2, Path("/dev/shm"): 32 * 1024**2}
_WHERE = "/usr/local/bin:/usr/bin:/bin"
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")  # on most systems links into /usr
_ETC = ("ld.so.cache", "alternatives", "localtime")
_ETC_NETWORK = ("resolv.conf", "hosts", "nsswitch.conf", "services", "ssl", "ca-certificates")
#: Process 1. It waits for all others, so that their processor time is known at the end; bubblewrap's own does not.
_INIT = ("sh", "-c", '"$@"; exit $?', "init")
_KERNEL = (5, 14)  # older ones count all processes of the user against the sandbox's limit
_VARIABLES = {
    "PATH": "/usr/bin:/bin",
    "HOME": str(HOME),
    "USER": "user",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    # Linear algebra libraries reserve address space for each of their threads.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


@contextmanager
def in_sandbox(
    source: bytes, name: str, arguments: Sequence[str], policy: Policy, checks: Sequence[str] = ()
) -> Iterator[Launch]:
    """Prepare a run of the program, which lies as `name` in its home.

    Raises SandboxError without bubblewrap or libseccomp, UsageError if `policy` opens a path that cannot be opened.
    """
    if sys.platform != "linux":
        raise SandboxError(f"the sandbox needs Linux, not {sys.platform}", hint="run without a sandbox: --unsafe")
    if not root.runs_as_another_user() and _kernel() < _KERNEL:
        raise SandboxError(
            f"the sandbox needs Linux 5.14 or later, not {os.uname().release}",
            hint="upgrade the kernel, or run as root",
        )
    bwrap = shutil.which("bwrap", path=_WHERE)
    if bwrap is None:
        raise SandboxError("bubblewrap is not installed, so there is no sandbox", hint="apt-get install bubblewrap")
    for opening in (*policy.read, *policy.write):
        opened.check_path(opening)
    interpreter = Interpreter.own()
    path = str(_place(Path(name).name, policy))
    with ExitStack() as stack:
        ours, theirs = map(stack.enter_context, socket.socketpair())
        text = stack.enter_context(_readable(source))
        calls = stack.enter_context(_readable(seccomp.program(policy.network, policy.unix_sockets)))
        user = None
        if root.runs_as_another_user():
            user = stack.enter_context(root.claimed_user())
            stack.callback(opened.return_ownership, policy.write, user)
        report = theirs.fileno()
        words = [bwrap, "--seccomp", str(calls), *_namespaces(policy, user), *_files(interpreter, policy)]
        words += ["--perms", "0755", "--dir", str(Path(path).parent)]
        words += ["--perms", "0444", "--ro-bind-data", str(text), path, "--remount-ro", "/", "--chdir", str(HOME), "--"]
        words += [*_INIT, *_become_user(user)]
        words += starter_command(
            interpreter.executable, path, Path(name).name, arguments, policy, checks, report=report, sandbox=True
        )
        yield Launch(
            words,
            ours,
            (report, text, calls),
            isolated=True,
            environment=_VARIABLES,
            memory_folders=_memory_folders(policy),
            group=stack.enter_context(control_group(policy.memory_bytes, policy.processes)),
        )


def _place(name: str, policy: Policy) -> Path:
    """Where the program lies: in its home, or elsewhere if the user's folder is opened there and has no such file."""
    for path in (*policy.read, *policy.write):
        if _inside(path) == HOME and not (path / name).exists():
            return _PACKAGES / name
    return HOME / name


def _inside(path: Path) -> Path:
    """The path under which the program sees it."""
    return Path(os.path.normpath(HOME / path))


def _kernel() -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])


def _namespaces(policy: Policy, user: int | None) -> list[str]:
    kinds = ["ipc", "pid", "uts", "cgroup-try"]
    if not policy.network:
        kinds.append("net")
    privileges = ["--cap-drop", "ALL"]
    if user is not None:  # for `_become_user`, which gives them up
        privileges += [word for name in ("SETUID", "SETGID", "SETPCAP") for word in ("--cap-add", f"CAP_{name}")]
    else:
        kinds.append("user")
        if os.geteuid() == 0:  # not root inside
            privileges += ["--uid", str(root.USERS[0]), "--gid", str(root.USERS[0])]
    return [
        "--as-pid-1", "--die-with-parent", "--new-session", "--hostname", "sandbox", *privileges,
        *(f"--unshare-{kind}" for kind in kinds),
    ]  # fmt: skip


def _become_user(user: int | None) -> list[str]:
    """The command by which root's program becomes another user."""
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
    """The sandbox's own folders, without those that an opened folder covers."""
    covered = {_inside(path) for path in (*policy.read, *policy.write)}
    return tuple(str(path.relative_to("/")) for path in _IN_MEMORY.keys() - covered)


def _seen(path: Path) -> list[str]:
    return _bound("--ro-bind-try", path, path)


def _bound(kind: str, source: Path, path: Path) -> list[str]:
    """Mount `source` as `path`; make the parent folders readable, which bubblewrap would make private."""
    folders = [word for one in reversed(path.parents[:-1]) for word in ("--perms", "0755", "--dir", str(one))]
    return [*folders, kind, str(source), str(path)]


def _tmpfs(path: Path, size: int) -> list[str]:
    return ["--perms", "0777", "--size", str(size), "--tmpfs", str(path)]


@contextmanager
def _readable(data: bytes) -> Iterator[int]:
    """A descriptor from which `data` can be read."""
    descriptor = os.memfd_create("cgcli")
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
