"""Parts of the attacking programs. Each prints ESCAPED if it gets through."""

from __future__ import annotations

_NUMBERS = {
    "x86_64": {
        "add_key": 248, "clone": 56, "clone3": 435, "io_uring_setup": 425, "kcmp": 312, "keyctl": 250,
        "memfd_create": 319, "mount": 165, "msgget": 68, "name_to_handle_at": 303, "personality": 135,
        "pidfd_getfd": 438, "process_vm_readv": 310, "ptrace": 101, "shmget": 29, "unshare": 272,
        "chmod": 90, "creat": 85, "fchmod": 91, "fchmodat": 268, "fchmodat2": 452, "mkdir": 83, "mkdirat": 258,
        "mknod": 133, "mknodat": 259, "open": 2, "openat": 257, "openat2": 437,
    },
    "aarch64": {
        "add_key": 217, "clone": 220, "clone3": 435, "io_uring_setup": 425, "kcmp": 272, "keyctl": 219,
        "memfd_create": 279, "mount": 40, "msgget": 186, "name_to_handle_at": 264, "personality": 92,
        "pidfd_getfd": 438, "process_vm_readv": 270, "ptrace": 117, "shmget": 194, "unshare": 97,
        "fchmod": 52, "fchmodat": 53, "fchmodat2": 452, "mkdirat": 34, "mknodat": 33, "openat": 56, "openat2": 437,
    },
}  # fmt: skip
"""asm/unistd_64.h and asm-generic/unistd.h of Linux."""

BURN = """
import time
def burn(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
"""

IGNORE_SIGNALS = """
import signal
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
"""


def seeing(*paths: str) -> str:
    return f"""
import os
for path in {paths!r}:
    if os.path.lexists(path):
        print("ESCAPED", path)
"""


def filling(folder: str) -> str:
    return f"""
for number in range(24):
    with open(f"{folder}/{{number}}", "wb") as file:
        file.write(bytes(3 << 20))
print("ESCAPED")
"""


def connecting(family: str, kind: str, address: str) -> str:
    return f"""
import socket
s = socket.socket(socket.{family}, socket.{kind})
s.settimeout(2)
s.connect({address})
s.send(b"hello")
print("ESCAPED")
"""


def in_namespace(kind: str) -> str:
    return f"import os; print('ESCAPED' if os.readlink('/proc/self/ns/{kind}') == '@NS_{kind}@' else '')"


def calling(call: str, arguments: str, *, error: str = "EPERM") -> str:
    """A system call that must fail with this error before its arguments, invalid or harmless, are looked at."""
    return f"""
import ctypes, errno, os, platform
number = {_NUMBERS!r}[platform.machine()][{call!r}]
libc = ctypes.CDLL(None, use_errno=True)
own = os.getpid()
result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, ({arguments},)))
if os.getpid() != own:
    os._exit(0)
said = errno.errorcode.get(ctypes.get_errno())
print(said if (result, said) == (-1, {error!r}) else f"ESCAPED {{result}} {{said}}")
"""


def marking() -> str:
    """Every call that sets a mode, with each of the set-user-ID, set-group-ID and sticky bits. All must be refused
    before the kernel looks at the other arguments, which are invalid."""
    return f"""
import ctypes, errno, itertools, os, platform
libc = ctypes.CDLL(None, use_errno=True)
numbers = {_NUMBERS!r}[platform.machine()]
before = dict(
    chmod=(0,), fchmod=(-1,), fchmodat=(-1, 0), fchmodat2=(-1, 0), mkdir=(0,), mkdirat=(-1, 0), mknod=(0,),
    mknodat=(-1, 0), creat=(0,),
)
calls = [(name, first) for name, first in before.items()]
for flags in (os.O_CREAT, os.O_TMPFILE, os.O_TMPFILE & ~os.O_DIRECTORY | os.O_RDWR):
    calls += [("open", (0, flags)), ("openat", (-1, 0, flags))]
for (name, first), bit in itertools.product(calls, (0o4000, 0o2000, 0o1000)):
    if name in numbers:
        ctypes.set_errno(0)
        result = libc.syscall(*map(ctypes.c_long, (numbers[name], *first, 0o755 | bit, 0)))
        said = errno.errorcode.get(ctypes.get_errno())
        print(said if (result, said) == (-1, "EPERM") else f"ESCAPED {{name}} {{bit:o}} {{result}} {{said}}")
"""


def on_terminal(request: str) -> str:
    """An ioctl on a terminal of its own, which fails with EPERM only if it is refused."""
    return f"""
import ctypes, errno, os, pty, termios
os.setsid()
_, terminal = pty.openpty()
libc = ctypes.CDLL(None, use_errno=True)
libc.ioctl(terminal, ctypes.c_ulong(termios.TIOCSCTTY), 0)
ctypes.set_errno(0)
libc.ioctl(terminal, ctypes.c_ulong({request}), b"x")
said = errno.errorcode.get(ctypes.get_errno())
print(said if said == "EPERM" else f"ESCAPED {{said}}")
"""


def burning_grandchild() -> str:
    return f"""{BURN}
import os
reader, writer = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        burn(0.7)
    os._exit(0)
os.close(writer)
os.read(reader, 1)  # until it has ended
print("ESCAPED")
"""


def stopping() -> str:
    """Stops itself; a child continues it after a while, so that it ends."""
    return """
import os, signal, time
if os.fork() == 0:
    time.sleep(1)
    os.kill(os.getppid(), signal.SIGCONT)
    os._exit(0)
os.kill(os.getpid(), signal.SIGSTOP)
print("ESCAPED")
"""


def burning_children(count: int, seconds: float) -> str:
    """One after another."""
    return f"""{BURN}
import os
for _ in range({count}):
    if os.fork() == 0:
        burn({seconds})
        os._exit(0)
    try:
        os.wait()
    except ChildProcessError:
        pass
print("ESCAPED")
"""


def held_by_another(count: int, megabytes: int) -> str:
    """Shared mappings that one child fills and unmaps, while another has them mapped and never touches them."""
    return f"""
import mmap, os, time
for _ in range({count}):
    shared = mmap.mmap(-1, {megabytes} << 20)
    if os.fork() == 0:
        for _ in range({megabytes}):
            shared.write(bytes(1 << 20))
        os._exit(0)
    os.wait()
    if os.fork() == 0:
        time.sleep(3)
        os._exit(0)
    shared.close()
time.sleep(1)
print("ESCAPED")
"""


def held_by_children(count: int, take: str) -> str:
    """Children that take memory and keep it until they are killed; prints ESCAPED once all have it."""
    lines = "\n        ".join(take.splitlines())
    return f"""
import mmap, os, socket, time
reader, writer = os.pipe()
for _ in range({count}):
    if os.fork() == 0:
        {lines}
        os.write(writer, b".")
        time.sleep(60)
for _ in range({count}):
    os.read(reader, 1)
time.sleep(1)
print("ESCAPED")
"""


def given_back(megabytes: int) -> str:
    """A shared mapping whose pages are resident in no process."""
    return f"""shared = mmap.mmap(-1, {megabytes} << 20)
for _ in range({megabytes}):
    shared.write(bytes(1 << 20))
    shared.madvise(mmap.MADV_DONTNEED)"""


def filled_sockets(pairs: int) -> str:
    return f"""held = [one for _ in range({pairs}) for one in socket.socketpair()]
for one in held:
    one.setblocking(False)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)
    try:
        while True:
            one.send(bytes(1 << 16))
    except BlockingIOError:
        pass"""


def empty_files(count: int) -> str:
    return f"""
import os, time
for number in range({count}):
    if number % 1000 == 0:
        os.mkdir(f"{{number}}")
        os.chdir(f"{{number}}")
    os.mknod(f"{{number}}x")
time.sleep(1)
print("ESCAPED")
"""
