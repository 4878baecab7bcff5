"""The filter of system calls for sandboxed programs, compiled by libseccomp.

It refuses calls that reach past the namespaces (keyrings, tracing, wide kernel interfaces), make new ones, keep memory
that no limit counts, drive a terminal, or leave files that run with their owner's rights. Namespaces and missing
privileges handle the rest: a list of allowed calls would break with every C library. A refused call fails with EPERM, a
Unix socket with ESOCKTNOSUPPORT.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from functools import cache

from cgcli.core.errors import SandboxError

_REFUSED = """
    add_key keyctl request_key
    ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp
    mount umount2 pivot_root chroot move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr unshare setns
    bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register fanotify_init
    open_by_handle_at name_to_handle_at lookup_dcookie modify_ldt personality
    memfd_create memfd_secret shmget shmat shmctl msgget semget mq_open
    reboot kexec_load kexec_file_load init_module finit_module delete_module swapon swapoff acct quotactl quotactl_fd
    syslog settimeofday clock_settime clock_adjtime adjtimex sethostname setdomainname iopl ioperm vhangup
"""
#: CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID and NET (linux/sched.h).
_NAMESPACE_FLAGS = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
#: TIOCSTI injects typed characters, TIOCLINUX drives the console (asm-generic/ioctls.h).
_TERMINAL_REQUESTS = (0x5412, 0x541C)
_MODE_BITS = (stat.S_ISUID, stat.S_ISGID, stat.S_ISVTX)
#: The index of the argument that is the mode.
_MODES = {
    "chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2, "mknod": 1, "mknodat": 2, "mkdir": 1, "mkdirat": 2,
    "creat": 1,
}  # fmt: skip
#: The index of the argument with the flags. The mode follows, and is used only if the call may create a file.
_OPENING = {"open": 1, "openat": 2}
#: The second is __O_TMPFILE (asm-generic/fcntl.h): O_TMPFILE without O_DIRECTORY.
_MAKING = (os.O_CREAT, 0o20000000)
#: Calls that older versions of libseccomp do not know. The numbers are the same on all processors.
_NUMBERS = {"fchmodat2": 452}
_FAMILIES = 64  # above every socket family (AF_MAX)
_TYPES = 16  # socket types without their flags fit four bits (SOCK_TYPE_MASK of linux/net.h)


@cache
def program(network: bool, unix_sockets: bool) -> bytes:
    """The filter as a BPF program for the kernel. Raises SandboxError if libseccomp is missing.

    `network` allows internet sockets, `unix_sockets` those of Unix. Connected pairs of stream sockets are always
    allowed; a pair of datagram sockets could be redirected to other addresses.
    """
    try:
        import pyseccomp as libseccomp  # type: ignore[import-untyped]
    except (ImportError, RuntimeError) as error:
        hint = "apt-get install libseccomp2 && pip install pyseccomp"
        raise SandboxError(f"cannot load libseccomp, which the sandbox needs: {error}", hint=hint) from error
    refuse = libseccomp.ERRNO(errno.EPERM)
    calls = libseccomp.SyscallFilter(libseccomp.ALLOW)
    calls.set_attr(libseccomp.Attr.ACT_BADARCH, libseccomp.KILL_PROCESS)  # 32-bit calls have different numbers

    def add(action: object, name: str, *conditions: object) -> None:
        """Add a rule if the call exists on this processor."""
        number = libseccomp.resolve_syscall(libseccomp.Arch.NATIVE, name)
        if number >= 0 or (number := _NUMBERS.get(name, -1)) >= 0:
            calls.add_rule(action, number, *conditions)

    for name in _REFUSED.split():
        add(refuse, name)
    for bit in _MODE_BITS:
        for name, mode in _MODES.items():
            add(refuse, name, libseccomp.Arg(mode, libseccomp.MASKED_EQ, bit, bit))
        for name, flags in _OPENING.items():
            for flag in _MAKING:
                making = libseccomp.Arg(flags, libseccomp.MASKED_EQ, flag, flag)
                add(refuse, name, making, libseccomp.Arg(flags + 1, libseccomp.MASKED_EQ, bit, bit))
    for flag in _NAMESPACE_FLAGS:
        calls.add_rule(refuse, "clone", libseccomp.Arg(0, libseccomp.MASKED_EQ, flag, flag))
    # Their flags lie in memory, which no filter can read. C libraries fall back to clone and openat.
    for name in ("clone3", "openat2"):
        add(libseccomp.ERRNO(errno.ENOSYS), name)
    for request in _TERMINAL_REQUESTS:
        calls.add_rule(refuse, "ioctl", libseccomp.Arg(1, libseccomp.MASKED_EQ, 0xFFFFFFFF, request))
    families = {socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK} if network else set()
    for family in set(range(_FAMILIES)) - families - {socket.AF_UNIX}:
        calls.add_rule(refuse, "socket", libseccomp.Arg(0, libseccomp.EQ, family))
    if not unix_sockets:
        no_type = libseccomp.ERRNO(errno.ESOCKTNOSUPPORT)
        calls.add_rule(no_type, "socket", libseccomp.Arg(0, libseccomp.EQ, socket.AF_UNIX))
        for kind in set(range(_TYPES)) - {socket.SOCK_STREAM}:
            calls.add_rule(refuse, "socketpair", libseccomp.Arg(1, libseccomp.MASKED_EQ, _TYPES - 1, kind))
    calls.add_rule(refuse, "socket", libseccomp.Arg(0, libseccomp.GE, _FAMILIES))
    # Name lookups use netlink for routes; all other netlink families are refused.
    routes = libseccomp.Arg(2, libseccomp.NE, 0)
    calls.add_rule(refuse, "socket", libseccomp.Arg(0, libseccomp.EQ, socket.AF_NETLINK), routes)
    with os.fdopen(os.memfd_create("seccomp"), "w+b") as file:
        calls.export_bpf(file)
        file.seek(0)
        return file.read()
