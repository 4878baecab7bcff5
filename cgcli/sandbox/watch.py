"""Runs a process to its end, or ends it: relays its input, reads its output up to a limit, watches clock and processor.

Knows nothing of bubblewrap, and does not judge: it tells what happened.
"""

from __future__ import annotations

import array
import fcntl
import os
import select
import selectors
import signal
import socket
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from cgcli.core.errors import SandboxError
from cgcli.sandbox.groups import Group
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.processes import Processes, kill_with_children
from cgcli.sandbox.verdict import Outcome

Stream = Literal["stdout", "stderr"]
Listener = Callable[[Stream | Literal["stdin"], bytes], None]
"""Is given what the program writes, as it comes, up to the limit; and each line that is typed for it on a terminal."""

_TICK_S = 0.05
"""Between two looks at the limits that no read and no end of a process tells of."""
_CHUNK_BYTES = 64 * 1024
_REPORT_BYTES = 64 * 1024
_START_S = 10.0
"""For the sandbox to stand and the program to begin, on a busy machine too; its own time begins only then."""


@dataclass(frozen=True)
class Start:
    """A process to make.

    channel: our end of the socket on which it says that the program begins, and how it ended; descriptors: what it
    inherits, under the same numbers. isolated: all its processes end with it, and it shows them on the channel.
    user: become this user and this group first. memory_folders: those of the sandbox whose files lie in memory. group:
    begin in it.
    """

    command: Sequence[str]
    channel: socket.socket
    descriptors: Sequence[int]
    isolated: bool
    user: int | None = None
    environment: dict[str, str] | None = None
    memory_folders: tuple[str, ...] = ()
    group: Group | None = None


@dataclass
class Course:
    """How it went. began: whether the program itself did; before that nothing it says is the program's.

    status: exit status, or minus the signal. stopped: why it was ended from here; None where it ended by itself.
    report: what came on the channel after the program began. unread: what was typed for it on a terminal, and it did
    not read. seconds: on the clock, its start included; cpu_s: of all its processes.
    """

    began: bool = False
    status: int = 0
    stopped: Outcome | None = None
    said: dict[Stream, bytearray] = field(default_factory=lambda: {"stdout": bytearray(), "stderr": bytearray()})
    report: bytearray = field(default_factory=bytearray)
    unread: bytes = b""
    seconds: float = 0.0
    cpu_s: float = 0.0


def watch(
    start: Start,
    policy: Policy,
    *,
    stdin: int | None = None,
    interrupted: Callable[[], bool],
    listener: Listener | None = None,
) -> Course:
    """Run it until it ends. stdin: a descriptor to relay; None: empty. Raises SandboxError where it cannot be made.

    Of a terminal a line is taken only when the program has read the one before: later ones may be meant for others.
    Nothing of it is left when this returns or raises; not isolated, what made itself a session of its own is.
    """
    try:
        process = subprocess.Popen(
            [*(start.group.joining if start.group else ()), *start.command],
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            pass_fds=start.descriptors,
            start_new_session=True,  # a Ctrl-C is for us
            env=start.environment,
            user=start.user,
            group=start.user,
            extra_groups=None if start.user is None else [],
        )
    except OSError as error:
        raise SandboxError(f"cannot start {start.command[0]}: {error.strerror or error}") from error
    watcher = _Watcher(process, start, policy, listener)
    try:
        watcher.follow(stdin, interrupted)
    finally:
        watcher.end()
    return watcher.course


class _Watcher:
    def __init__(
        self,
        process: subprocess.Popen[bytes],
        start: Start,
        policy: Policy,
        listener: Listener | None,
    ) -> None:
        self.course = Course()
        self._process = process
        self._isolated = start.isolated
        self._channel = start.channel
        self._memory_folders = start.memory_folders
        self._group = start.group
        self._policy = policy
        self._listener = listener
        self._started = self._began = time.monotonic()
        self._processes: Processes | None = None
        self._selector = selectors.PollSelector()
        self._reads: dict[int, Callable[[], bool]] = {}
        """What to do where a descriptor can be read; each tells whether it may be called again at once."""
        self._pidfd: int | None = None

    def follow(self, stdin: int | None, interrupted: Callable[[], bool]) -> None:
        """Until the process has ended by itself, or `stopped` says why it has to."""
        assert self._process.stdout and self._process.stderr
        os.set_blocking(self._process.stdout.fileno(), False)
        os.set_blocking(self._process.stderr.fileno(), False)
        self._channel.setblocking(False)
        self._read(self._channel.fileno(), self._hear)
        self._read(self._process.stdout.fileno(), partial(self._output, self._process.stdout.fileno(), "stdout"))
        self._read(self._process.stderr.fileno(), partial(self._output, self._process.stderr.fileno(), "stderr"))
        if stdin is not None:
            self._selector.register(stdin, selectors.EVENT_READ, partial(self._take, stdin))
        if hasattr(os, "pidfd_open"):  # elsewhere the end is noticed a tick later
            self._pidfd = os.pidfd_open(self._process.pid)
            self._selector.register(self._pidfd, selectors.EVENT_READ, lambda: None)
        looked = self._began
        while not self.course.stopped and not self._ended():
            for key, _ in self._selector.select(_TICK_S):
                key.data()
            if stdin is not None and self.course.unread and not self._still_unread():
                self._selector.register(stdin, selectors.EVENT_READ, partial(self._take, stdin))
            now = time.monotonic()
            if not self.course.stopped and now - looked >= _TICK_S:
                looked = now
                self.course.stopped = "interrupted" if interrupted() else self._over(now)
        if not self.course.stopped:  # what it wrote last
            for read in list(self._reads.values()):
                while read():
                    pass
        self._still_unread()

    def end(self) -> None:
        """Kill whatever is left of it, and wait until it is gone."""
        if self._isolated:
            kill_with_children(self._process.pid)
        else:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = self.course.status = os.waitstatus_to_exitcode(status)
        self.course.cpu_s = usage.ru_utime + usage.ru_stime
        if self._processes:
            self._processes.close()
            self.course.cpu_s = max(self.course.cpu_s, self._processes.cpu_s)
        if self._group and self.course.stopped != "interrupted" and self._group.ran_out:
            self.course.stopped = "memory"
        self.course.seconds = time.monotonic() - self._started
        self._selector.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()

    def _ended(self) -> bool:
        """Whether it has, and is left to be waited for: until then its number is nobody else's."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _over(self, now: float) -> Outcome | None:
        """The limit that is passed at this moment."""
        if now - self._began > (self._policy.wall_s if self.course.began else _START_S):
            return "wall time"
        if not self._processes:
            return None
        self._processes.look()
        if self._processes.cpu_s > self._policy.cpu_s:
            return "cpu time"
        limit = self._policy.memory_bytes
        if self._processes.most_bytes > limit and self._processes.memory_bytes() > limit:
            return "memory"
        return None

    def _read(self, descriptor: int, read: Callable[[], bool]) -> None:
        self._selector.register(descriptor, selectors.EVENT_READ, read)
        self._reads[descriptor] = read

    def _close(self, descriptor: int) -> bool:
        self._selector.unregister(descriptor)
        del self._reads[descriptor]
        return False

    def _output(self, descriptor: int, stream: Stream) -> bool:
        try:
            chunk = os.read(descriptor, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not chunk:
            return self._close(descriptor)
        room = self._policy.output_bytes - sum(map(len, self.course.said.values()))
        if len(chunk) > room:
            self.course.stopped = "output limit"
        self.course.said[stream] += chunk[:room]
        if self._listener and room:
            self._listener(stream, chunk[:room])
        return self.course.stopped is None

    def _hear(self) -> bool:
        """What comes on the channel: first that the program begins, with the sandbox's /proc where there is one."""
        try:
            if self.course.began:
                words = self._channel.recv(_REPORT_BYTES)
                self.course.report += words[: _REPORT_BYTES - len(self.course.report)]
            else:
                words, passed, _, _ = socket.recv_fds(self._channel, 1, 1)
                self.course.began = bool(words)
                self._began = time.monotonic()
                self._processes = Processes(passed[0], self._memory_folders) if passed else None
        except BlockingIOError:
            return False
        except ConnectionResetError:
            words = b""
        return bool(words) or self._close(self._channel.fileno())

    def _take(self, stdin: int) -> None:
        """Input has come: hand it on when the program's pipe has room."""
        assert self._process.stdin
        pipe = self._process.stdin.fileno()
        try:
            words = os.read(stdin, select.PIPE_BUF)
        except OSError:
            words = b""  # such as a folder
        self._selector.unregister(stdin)
        if not words:
            self._process.stdin.close()
        elif os.isatty(stdin):
            if self._listener:
                self._listener("stdin", words)
            self.course.unread = words
            self._write(words)
        else:
            self._selector.register(pipe, selectors.EVENT_WRITE, partial(self._give, stdin, words))

    def _give(self, stdin: int, words: bytes) -> None:
        assert self._process.stdin
        self._selector.unregister(self._process.stdin.fileno())
        if self._write(words):
            self._selector.register(stdin, selectors.EVENT_READ, partial(self._take, stdin))

    def _write(self, words: bytes) -> bool:
        """Whether the program still reads. The pipe has room for the words."""
        assert self._process.stdin
        try:
            os.write(self._process.stdin.fileno(), words)
        except BrokenPipeError:
            self._process.stdin.close()
            return False
        return True

    def _still_unread(self) -> bool:
        """Whether something of what was typed last lies in the program's pipe; only that is kept."""
        if self.course.unread and self._process.stdin and not self._process.stdin.closed:
            count = array.array("i", [0])
            fcntl.ioctl(self._process.stdin.fileno(), termios.FIONREAD, count)
            self.course.unread = self.course.unread[-count[0] :] if count[0] else b""
        return bool(self.course.unread)
