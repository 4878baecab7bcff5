"""Runs a process until it ends or passes a limit: relays its input and output, and watches time and memory.

It knows nothing of bubblewrap and does not judge: it returns what happened.
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
from typing import IO, Literal

from cgcli.core.errors import SandboxError
from cgcli.sandbox.policy import Policy
from cgcli.sandbox.processes import Processes, kill_with_children
from cgcli.sandbox.root import ControlGroup
from cgcli.sandbox.verdict import Outcome

Stream = Literal["stdout", "stderr"]
#: Called with what the program writes, as it comes, up to the limit; and with each line typed for it on a terminal.
Listener = Callable[[Stream | Literal["stdin"], bytes], None]

_TICK_S = 0.05  # between two looks at limits that no event announces
_CHUNK_BYTES = 64 * 1024
_REPORT_BYTES = 64 * 1024
#: For the sandbox to be set up and the program to begin, on a busy machine too; the program's own time begins then.
_START_S = 10.0


@dataclass(frozen=True)
class Launch:
    """A process to start."""

    command: Sequence[str]
    channel: socket.socket  # our end of the socket on which the starter reports that the program begins and how it ends
    descriptors: Sequence[int]  # inherited, under the same numbers
    isolated: bool  # all its processes end with it, and it sends its /proc on the channel
    environment: dict[str, str] | None = None
    memory_folders: tuple[str, ...] = ()  # folders of the sandbox whose files lie in memory
    group: ControlGroup | None = None  # the control group to start in


@dataclass
class Execution:
    """The observed course of a process."""

    began: bool = False  # whether the program itself began; output before that is not the program's
    status: int = 0  # exit status, or minus the signal
    stopped: Outcome | None = None  # why it was killed; None if it ended by itself
    output: dict[Stream, bytearray] = field(default_factory=lambda: {"stdout": bytearray(), "stderr": bytearray()})
    report: bytearray = field(default_factory=bytearray)  # received on the channel after the program began
    unread: bytes = b""  # input typed on a terminal that the program did not read
    wall_s: float = 0.0  # elapsed, start-up included
    cpu_s: float = 0.0  # of all its processes


def watch(
    launch: Launch,
    policy: Policy,
    *,
    stdin: int | None = None,
    interrupted: Callable[[], bool],
    listener: Listener | None = None,
) -> Execution:
    """Run a process until it ends. `stdin` is a descriptor to relay; None means no input.

    No process of it is left when this returns or raises; without isolation, one that made a session of its own is.
    Raises SandboxError if the process cannot be started.
    """
    try:
        process = subprocess.Popen(
            [*(launch.group.join_command if launch.group else ()), *launch.command],
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            pass_fds=launch.descriptors,
            start_new_session=True,  # Ctrl-C is for us
            env=launch.environment,
        )
    except OSError as error:
        raise SandboxError(f"cannot start {launch.command[0]}: {error.strerror or error}") from error
    watcher = _Watcher(process, launch, policy, listener)
    try:
        watcher.follow(stdin, interrupted)
    finally:
        watcher.end()
    return watcher.execution


class _Watcher:
    def __init__(
        self,
        process: subprocess.Popen[bytes],
        launch: Launch,
        policy: Policy,
        listener: Listener | None,
    ) -> None:
        self.execution = Execution()
        self._process = process
        self._isolated = launch.isolated
        self._channel = launch.channel
        self._memory_folders = launch.memory_folders
        self._group = launch.group
        self._policy = policy
        self._listener = listener
        self._started = self._began = time.monotonic()
        self._processes: Processes | None = None
        self._selector = selectors.PollSelector()
        #: What to do when a descriptor can be read; each returns whether it may be called again at once.
        self._reads: dict[int, Callable[[], bool]] = {}
        self._pidfd: int | None = None

    def follow(self, stdin: int | None, interrupted: Callable[[], bool]) -> None:
        """Until the process has ended by itself, or `execution.stopped` says why it must."""
        pipes: dict[Stream, IO[bytes] | None] = {"stdout": self._process.stdout, "stderr": self._process.stderr}
        for stream, pipe in pipes.items():
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                self._read(pipe.fileno(), partial(self._relay_output, pipe.fileno(), stream))
        self._channel.setblocking(False)
        self._read(self._channel.fileno(), self._receive_report)
        source = None
        if stdin is not None and self._process.stdin is not None:
            source = _Input(stdin, self._process.stdin, self._selector, self._listener)
        if hasattr(os, "pidfd_open"):  # elsewhere the end is noticed a tick later
            self._pidfd = os.pidfd_open(self._process.pid)
            self._selector.register(self._pidfd, selectors.EVENT_READ, lambda: None)
        looked = self._began
        while not self.execution.stopped and not self._ended():
            for key, _ in self._selector.select(_TICK_S):
                key.data()
            if source:
                source.take_next()
            now = time.monotonic()
            if not self.execution.stopped and now - looked >= _TICK_S:
                looked = now
                self.execution.stopped = "interrupted" if interrupted() else self._passed_limit(now)
        if not self.execution.stopped:  # what it wrote last
            for read in list(self._reads.values()):
                while read():
                    pass
        if source:
            self.execution.unread = source.still_unread()

    def end(self) -> None:
        """Kill whatever is left of it, and wait until it is gone."""
        if self._isolated:
            kill_with_children(self._process.pid)
        else:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = self.execution.status = os.waitstatus_to_exitcode(status)
        self.execution.cpu_s = usage.ru_utime + usage.ru_stime
        if self._processes:
            self._processes.close()
            self.execution.cpu_s = max(self.execution.cpu_s, self._processes.cpu_s)
        if self._group and self.execution.stopped != "interrupted" and self._group.out_of_memory:
            self.execution.stopped = "memory"
        self.execution.wall_s = time.monotonic() - self._started
        self._selector.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()

    def _ended(self) -> bool:
        """Whether it has ended. It is not waited for yet, so that its process ID is not reused."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _passed_limit(self, now: float) -> Outcome | None:
        """The limit that it has passed, if any."""
        if now - self._began > (self._policy.wall_s if self.execution.began else _START_S):
            return "wall time"
        if not self._processes:
            return None
        self._processes.update()
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

    def _relay_output(self, descriptor: int, stream: Stream) -> bool:
        try:
            chunk = os.read(descriptor, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not chunk:
            return self._close(descriptor)
        room = self._policy.output_bytes - sum(map(len, self.execution.output.values()))
        if len(chunk) > room:
            self.execution.stopped = "output limit"
        self.execution.output[stream] += chunk[:room]
        if self._listener and room:
            self._listener(stream, chunk[:room])
        return self.execution.stopped is None

    def _receive_report(self) -> bool:
        """Read the channel. The first message says that the program begins, and carries the sandbox's /proc if any."""
        try:
            if self.execution.began:
                words = self._channel.recv(_REPORT_BYTES)
                self.execution.report += words[: _REPORT_BYTES - len(self.execution.report)]
            else:
                words, passed, _, _ = socket.recv_fds(self._channel, 1, 1)
                self.execution.began = bool(words)
                self._began = time.monotonic()
                self._processes = Processes(passed[0], self._memory_folders) if passed else None
        except BlockingIOError:
            return False
        except ConnectionResetError:
            words = b""
        return bool(words) or self._close(self._channel.fileno())


class _Input:
    """Relays input from a descriptor to the program, when its pipe has room.

    From a terminal it takes a line only after the program has read the one before: later lines may be for others.
    """

    def __init__(
        self, source: int, pipe: IO[bytes], selector: selectors.BaseSelector, listener: Listener | None
    ) -> None:
        self._source = source
        self._pipe = pipe
        self._selector = selector
        self._listener = listener
        self._typed = b""  # the last line from a terminal, as far as the program has not read it
        self._wait()

    def take_next(self) -> None:
        """Wait for the next typed line if the program has read the last one."""
        if self._typed and not self.still_unread():
            self._wait()

    def still_unread(self) -> bytes:
        """What the program has not read of the line typed last: what still lies in its pipe."""
        if self._typed and not self._pipe.closed:
            count = array.array("i", [0])
            fcntl.ioctl(self._pipe.fileno(), termios.FIONREAD, count)
            self._typed = self._typed[-count[0] :] if count[0] else b""
        return self._typed

    def _wait(self) -> None:
        self._selector.register(self._source, selectors.EVENT_READ, self._take)

    def _take(self) -> None:
        try:
            words = os.read(self._source, select.PIPE_BUF)
        except OSError:
            words = b""  # e.g. a folder
        self._selector.unregister(self._source)
        if not words:
            self._pipe.close()
        elif os.isatty(self._source):
            if self._listener:
                self._listener("stdin", words)
            self._typed = words
            self._write(words)
        else:
            self._selector.register(self._pipe.fileno(), selectors.EVENT_WRITE, partial(self._pass_on, words))

    def _pass_on(self, words: bytes) -> None:
        self._selector.unregister(self._pipe.fileno())
        if self._write(words):
            self._wait()

    def _write(self, words: bytes) -> bool:
        """Write to the pipe, which has room; returns whether the program still reads."""
        try:
            os.write(self._pipe.fileno(), words)
        except BrokenPipeError:
            self._pipe.close()
            return False
        return True
