"""Attacks on the sandbox: each tries one thing, and names the protection that stops it.

A program that gets through prints ESCAPED. `@WORDS@` stand for things that the tests put outside (outside.py). All
attacks are bounded, so that they do no harm without the protection: test_attacks.py also runs each without it, and sees
it get through. (A real fork bomb is in test_run.py.)
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from cgcli.sandbox.policy import Policy
from cgcli.sandbox.verdict import Outcome
from cgcli.sandbox.watch import Launch
from tests.sandbox.attack_programs import (
    BURN,
    IGNORE_SIGNALS,
    burning_children,
    burning_grandchild,
    calling,
    connecting,
    empty_files,
    filled_sockets,
    filling,
    given_back,
    held_by_another,
    held_by_children,
    in_namespace,
    marking,
    on_terminal,
    seeing,
    stopping,
)
from tests.sandbox.weakened import (
    Weaker,
    as_root,
    host_environment,
    host_name,
    host_network,
    host_processes,
    leaky,
    no_filter,
    setting,
    several,
    showing,
    without,
    without_run,
    without_size,
    writable,
)


@dataclass(frozen=True)
class Attack:
    """An attack, and how to take away the protection against it."""

    name: str
    source: str
    outcomes: tuple[Outcome, ...] = ("passed",)  # with which the sandbox has held
    weaker: Weaker | None = None  # takes the protection away from the sandbox
    lax: dict[str, Any] = field(default_factory=dict)  # takes it away from the policy
    policy: dict[str, Any] = field(default_factory=dict)
    #: In whose sandbox that is enough; in the other kind a second protection stands behind the first.
    bites: Literal["any", "user", "root"] = "any"

    def program(self, outside: dict[str, str]) -> bytes:
        return _filled(self.source, outside).encode()

    def weakened(self, launch: Launch, outside: dict[str, str]) -> Launch:
        weak = self.weaker(launch) if self.weaker else launch
        return replace(weak, command=[_filled(word, outside) for word in weak.command])

    def allowed(self, outside: dict[str, str], *, weak: bool) -> Policy:
        wanted = {"wall_s": 20.0, **self.policy, **(self.lax if weak else {})}
        for name in {"read", "write"} & wanted.keys():
            wanted[name] = tuple(Path(_filled(path, outside)) for path in wanted[name])
        return Policy(**wanted)


def _filled(text: str, outside: dict[str, str]) -> str:
    for name, value in outside.items():
        text = text.replace(f"@{name}@", value)
    return text


FILES = (
    Attack("read /etc", seeing("/etc/shadow", "/etc/passwd", "/etc/hosts"), weaker=showing("/etc")),
    Attack("see the rest of the disk", seeing("/var", "/boot", "/srv", "/media"), weaker=showing("/var")),
    Attack("see /sys", seeing("/sys"), weaker=showing("/sys")),
    Attack("see devices of the machine", seeing("/dev/kmsg", "/dev/mem", "/dev/vda", "/dev/sda", "/dev/loop0"),
           weaker=showing("/dev", "--dev-bind")),
    Attack("read the user's files", "print(open('@OUTSIDE@/note').read(), 'ESCAPED')", ("exception",),
           showing("/tmp")),
    Attack("read what others left in /tmp", "import os; print('ESCAPED' if os.listdir('/tmp') else '')",
           weaker=showing("/tmp")),
    Attack("follow a link of its own out of the sandbox",
           "import os; os.symlink('@OUTSIDE@/note', 'link'); print(open('link').read(), 'ESCAPED')", ("exception",),
           showing("/tmp")),
    Attack("change what it may only read", "import tempfile; tempfile.mkstemp(dir='@OUTSIDE@'); print('ESCAPED')",
           ("denied",), writable, policy={"read": ["@OUTSIDE@"]}),
    Attack("make a hard link to what it may only read, where it may write",
           "import os, secrets; os.link('@OUTSIDE@/note', f'@WRITABLE@/{secrets.token_hex()}'); print('ESCAPED')",
           ("exception", "denied"),
           showing("@ROOT@", "--bind"), policy={"read": ["@OUTSIDE@"], "write": ["@WRITABLE@"]}),
    Attack("write to the interpreter that the host runs",
           "import os; p = os.path.realpath('/proc/self/exe'); s = os.stat(p)\n"
           "os.utime(p, ns=(s.st_atime_ns, s.st_mtime_ns)); print('ESCAPED')", ("denied",),
           several(writable, as_root), bites="root"),
    Attack("read what is root's alone", "print(open('@SECRET@').read(), 'ESCAPED')", ("denied",),
           as_root, policy={"read": ["@SECRET@"]}, bites="root"),
    Attack("make files at /, in memory that nothing limits", "import os; os.mkdir('/new'); print('ESCAPED')",
           ("denied",), without_run("--remount-ro", "/"), bites="user"),
    Attack("make files in /dev, likewise", "open('/dev/new', 'w').close(); print('ESCAPED')", ("denied",),
           without_run("--remount-ro", "/dev"), bites="user"),
    Attack("fill its home", filling("/home"), ("output limit",), without_size("/home")),
    Attack("fill /tmp", filling("/tmp"), ("output limit",), without_size("/tmp")),
    Attack("fill /dev/shm", filling("/dev/shm"), ("output limit",), without_size("/dev/shm")),
    Attack("make one huge file", "open('huge', 'wb').truncate(1 << 30); print('ESCAPED')", ("output limit",),
           setting("file", 1 << 31)),
    Attack("leave files that run as their owner", marking(), weaker=no_filter),
    Attack("leave one by a call that no filter can read", calling("openat2", "-1, 0, 0, 0", error="ENOSYS"),
           weaker=no_filter),
    Attack("leave one in a folder of the user's",
           "import os, stat\nos.umask(0)\nhow = os.O_CREAT | os.O_WRONLY\nname = f'@WRITABLE@/{os.urandom(4).hex()}'\n"
           "for make in (lambda: os.close(os.open(name, how, 0o6777)), lambda: os.chmod(name, 0o4777)):\n"
           "    try:\n        make()\n    except PermissionError:\n        os.close(os.open(name, how, 0o777))\n"
           "    if os.stat(name).st_mode & 0o6000:\n        print('ESCAPED')\nos.unlink(name)",
           weaker=no_filter, policy={"write": ["@WRITABLE@"]}),
    Attack("read the host's variables", "import os; print('ESCAPED' if 'TEST_SECRET' in os.environ else '')",
           weaker=host_environment),
    Attack("use descriptors that were left open",
           "import os\nfor fd in range(3, 99):\n    try:\n        print('ESCAPED', os.listdir(fd))\n"
           "    except OSError:\n        pass", weaker=leaky),
    Attack("exhaust descriptors", "held = [open('/dev/null') for _ in range(400)]; print('ESCAPED')", ("exception",),
           setting("files", 4000)),
)  # fmt: skip

NETWORK = (
    Attack("connect over IPv4", connecting("AF_INET", "SOCK_STREAM", "('127.0.0.1', @PORT4@)"), ("denied",),
           host_network),
    Attack("connect over IPv6", connecting("AF_INET6", "SOCK_STREAM", "('::1', @PORT6@)"), ("denied",),
           host_network),
    Attack("send a datagram", connecting("AF_INET", "SOCK_DGRAM", "('127.0.0.1', @PORT4@)"), ("denied",),
           host_network),
    Attack("reach a service through its socket file", connecting("AF_UNIX", "SOCK_STREAM", "'@OUTSIDE@/socket'"),
           ("denied",), no_filter, policy={"read": ["@OUTSIDE@"]}),
    Attack("reach one where it may write", connecting("AF_UNIX", "SOCK_STREAM", "'@OUTSIDE@/socket'"),
           ("denied",), no_filter, policy={"write": ["@OUTSIDE@"]}),
    Attack("reach one that is opened by name", connecting("AF_UNIX", "SOCK_STREAM", "'@OUTSIDE@/socket'"),
           ("denied",), no_filter, policy={"read": ["@OUTSIDE@/socket"]}),
    Attack("reach a service through an abstract socket", connecting("AF_UNIX", "SOCK_STREAM", r"'\0@ABSTRACT@'"),
           ("exception",), host_network),
    Attack("reach a service through an abstract socket, with the network allowed",
           connecting("AF_UNIX", "SOCK_STREAM", r"'\0@ABSTRACT@'"), ("denied",), no_filter,
           policy={"network": True}),
    Attack("aim one of a connected pair at an abstract socket, with the network allowed",
           "import socket; one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
           r"one.sendto(b'hello', '\0@ABSTRACT@-datagram'); print('ESCAPED')", ("denied",), no_filter,
           policy={"network": True}),
    Attack("talk to the kernel's own protocols, with the network allowed",
           "import socket; socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET); print('ESCAPED')", ("denied",),
           no_filter, policy={"network": True}),
    Attack("share the network", in_namespace("net"), weaker=without("--unshare-net")),
)  # fmt: skip

PROCESSES = (
    Attack("fork sixty times",
           "import os, time\nfor _ in range(60):\n    if os.fork() == 0:\n        time.sleep(600)\n"
           "print('ESCAPED')", ("processes",), lax={"processes": 200}, policy={"processes": 32}),
    Attack("start sixty threads",
           "import threading, time\nfor _ in range(60):\n"
           "    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\nprint('ESCAPED')",
           ("processes",), lax={"processes": 200}, policy={"processes": 32}),
    Attack("see other processes",
           "import os; print('ESCAPED' if sum(map(str.isdecimal, os.listdir('/proc'))) > 3 else '')",
           weaker=host_processes),
    Attack("signal its parent's parent", "import os; os.kill(@PID@, 0); print('ESCAPED')", ("exception",),
           host_processes),
    Attack("share the numbers of processes", in_namespace("pid"), weaker=host_processes),
    Attack("share shared memory and queues", in_namespace("ipc"), weaker=without("--unshare-ipc")),
    Attack("share the machine's name", in_namespace("uts"), weaker=host_name),
    Attack("share the control groups", in_namespace("cgroup"), weaker=without("--unshare-cgroup-try")),
    Attack("become root", "import os; os.setuid(0); print('ESCAPED')", ("denied", "exception"), as_root,
           bites="root"),
    Attack("keep privileges",
           "for line in open('/proc/self/status'):\n    name, value = line.split(':')\n"
           "    if name in ('CapPrm', 'CapEff', 'CapBnd', 'CapAmb') and int(value, 16):\n"
           "        print('ESCAPED', line)", weaker=as_root, bites="root"),
)  # fmt: skip

CALLS = (
    Attack("trace", calling("ptrace", "0, 0, 0, 0"), weaker=no_filter),
    Attack("read another process's memory", calling("process_vm_readv", "own, 0, 0, 0, 0, 0"), weaker=no_filter),
    Attack("compare processes", calling("kcmp", "own, own, 0, 0, 0"), weaker=no_filter),
    Attack("take a descriptor from a process", calling("pidfd_getfd", "-1, 0, 0"), weaker=no_filter),
    Attack("use the kernel's keyrings", calling("keyctl", "0, -3, 0"), weaker=no_filter),
    Attack("add a key", calling("add_key", "0, 0, 0, 0, 0"), weaker=no_filter),
    Attack("make a user namespace", calling("unshare", "0x10000000"), weaker=no_filter),
    Attack("make one for a child", calling("clone", "0x10000011, 0, 0, 0, 0"), weaker=no_filter),
    Attack("make one where no filter can look", calling("clone3", "0, 0", error="ENOSYS"), weaker=no_filter),
    Attack("mount", calling("mount", "0, 0, 0, 0, 0"),
           weaker=several(no_filter, as_root, without_run("--cap-drop", "*")), bites="root"),
    Attack("open files by handles", calling("name_to_handle_at", "0, 0, 0, 0, 0"), weaker=no_filter),
    Attack("use io_uring, which no filter sees", calling("io_uring_setup", "0, 0"), weaker=no_filter),
    Attack("become another kind of process", calling("personality", "0xFFFFFFFF"), weaker=no_filter),
    Attack("keep memory in nobody's files", calling("memfd_create", "0, 0"), weaker=no_filter),
    Attack("keep memory in segments", calling("shmget", "0, 4096, 0o600"), weaker=no_filter),
    Attack("keep memory in queues", calling("msgget", "0, 0o600"), weaker=no_filter),
    Attack("type in the user's place", on_terminal("termios.TIOCSTI"), weaker=no_filter),
    Attack("type in the user's place, with bits that the kernel does not look at",
           on_terminal("termios.TIOCSTI | 1 << 32"), weaker=no_filter),
    Attack("drive the console", on_terminal("0x541C"), weaker=no_filter),
)  # fmt: skip

_SMALL = {"memory_bytes": 256 * 10**6}
_LARGE = {"memory_bytes": 1 << 32}
_OUTPUT = {"output_bytes": 100_000}
_CPU = {"cpu_s": 0.3}
_WALL = {"wall_s": 0.4}
LIMITS = (
    Attack("take memory", "held = [bytearray(10 << 20) for _ in range(40)]; print('ESCAPED')", ("memory",),
           lax={"memory_bytes": 1 << 31}, policy=_SMALL),
    Attack("take memory in children",
           "import os, time\nreader, writer = os.pipe()\nfor _ in range(6):\n    if os.fork() == 0:\n"
           "        held = b'x' * (60 << 20)\n        os.write(writer, b'.')\n        time.sleep(600)\n"
           "for _ in range(6):\n    os.read(reader, 1)\ntime.sleep(1)\nprint('ESCAPED')",
           ("memory",), lax={"memory_bytes": 1 << 31}, policy=_SMALL),
    Attack("keep memory in shared mappings whose pages are given back", held_by_children(4, given_back(90)),
           ("memory",), lax=_LARGE, policy=_SMALL),
    Attack("keep memory in shared mappings that others fill", held_by_another(4, 90), ("memory",), lax=_LARGE,
           policy=_SMALL),
    Attack("keep memory in sockets", held_by_children(4, filled_sockets(60)), ("memory",), lax=_LARGE, policy=_SMALL),
    Attack("keep memory in empty files", empty_files(60_000), ("memory",), lax=_LARGE,
           policy={"memory_bytes": 64 * 10**6}),
    Attack("keep memory in files",
           "import time\nfor name in ('/home/a', '/tmp/a', '/dev/shm/a'):\n    with open(name, 'wb') as file:\n"
           "        for _ in range(30):\n            file.write(bytes(1 << 20))\ntime.sleep(1)\nprint('ESCAPED')",
           ("memory",), lax=_LARGE, policy={"memory_bytes": 80 * 10**6}),
    Attack("print without end", "for _ in range(300):\n    print('x' * 1000)\nprint('ESCAPED')", ("output limit",),
           lax={"output_bytes": 1 << 20}, policy=_OUTPUT),
    Attack("print without end on stderr",
           "import sys\nfor _ in range(300):\n    print('x' * 1000, file=sys.stderr)\nprint('ESCAPED')",
           ("output limit",), lax={"output_bytes": 1 << 20}, policy=_OUTPUT),
    Attack("compute without end", BURN + "burn(0.7); print('ESCAPED')", ("cpu time",), lax={"cpu_s": 60.0},
           policy=_CPU),
    Attack("compute without end, deaf to signals", BURN + IGNORE_SIGNALS + "burn(0.7); print('ESCAPED')",
           ("cpu time",), lax={"cpu_s": 60.0}, policy=_CPU),
    Attack("compute in one short child after another", burning_children(35, 0.02), ("cpu time",),
           lax={"cpu_s": 60.0}, policy=_CPU),
    Attack("compute in children that nobody waits for",
           "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n" + burning_children(8, 0.1), ("cpu time",),
           lax={"cpu_s": 60.0}, policy=_CPU),
    Attack("compute in a child's child", burning_grandchild(), ("cpu time",), lax={"cpu_s": 60.0}, policy=_CPU),
    Attack("wait without end", "import time; time.sleep(1.5); print('ESCAPED')", ("wall time",),
           lax={"wall_s": 600.0}, policy=_WALL),
    Attack("wait without end, deaf to signals", IGNORE_SIGNALS + "import time; time.sleep(1.5); print('ESCAPED')",
           ("wall time",), lax={"wall_s": 600.0}, policy=_WALL),
    Attack("stop itself", stopping(), ("wall time",), lax={"wall_s": 600.0}, policy=_WALL),
)  # fmt: skip

INTEL = Attack(
    "make calls of 32 bits, which have other numbers",
    "import ctypes, mmap\n"
    "page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
    "page.write(bytes.fromhex('b814000000cd80c3'))  # mov eax, 20 (getpid); int 0x80; ret\n"
    "print('ESCAPED', ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))())",
    ("denied",),
    no_filter,
)

ATTACKS = (*FILES, *NETWORK, *PROCESSES, *CALLS, *LIMITS, INTEL)
