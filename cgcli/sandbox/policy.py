"""What a generated program may use and see: limits, files, the network. A value; enforcing it is others' work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Policy:
    """The defaults are safe: no network, no files of the user, and limits that an honest small program does not meet.

    unsafe: run on this machine as it is, with the limits on time, output and memory alone; never a fallback.
    cpu_s: processor seconds of all its processes together, start-up included: what decides, on a busy machine too.
    wall_s: seconds on the clock, a backstop for programs that wait. memory_bytes: address space of each process and
    resident memory of all; output_bytes: of stdout and stderr together; processes: threads count, too.
    read, write: what it sees of the user's files: an absolute path where it is, another one relative to the program's
    working folder. lingers: whether what is left of a program that reached its end (threads, exit handlers) goes on.
    """

    unsafe: bool = False
    cpu_s: float = 20.0
    wall_s: float = 100.0
    memory_bytes: int = 2 * 1024**3
    output_bytes: int = 16 * 1024**2
    processes: int = 64
    network: bool = False
    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    lingers: bool = True

    @property
    def unix_sockets(self) -> bool:
        """Whether it may make Unix sockets: where no service of this machine can be behind one.

        A socket file is reached through a read-only folder, too, and an abstract name through the machine's network.
        """
        return not self.network and all(path.is_file() for path in (*self.read, *self.write))
