"""The permissions of a generated program: limits, files, the network. A plain value; other modules enforce it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Policy:
    """The defaults are safe: no network, no access to the user's files, and limits that small honest programs keep."""

    unsafe: bool = False  # run without a sandbox, under the limits on time, output and memory only; never a fallback
    cpu_s: float = 20.0  # processor time of all processes together, start-up included; fair on a busy machine too
    wall_s: float = 100.0  # elapsed time, a backstop for programs that wait
    memory_bytes: int = 2 * 1024**3  # address space of each process, and resident memory of all together
    output_bytes: int = 16 * 1024**2  # stdout and stderr together
    processes: int = 64  # threads included
    network: bool = False
    #: The user's files and folders that it sees: absolute paths as they are, relative ones below its working folder.
    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()  # likewise, and it may change these
    names: bool = False  # report the variables that it has at its end
    lingers: bool = True  # whether threads and exit handlers go on after the program reached its end

    @property
    def unix_sockets(self) -> bool:
        """Whether it may make Unix sockets: only if no service of this machine can be behind one.

        A socket file can be reached through a read-only folder, and an abstract name through the machine's network.
        """
        return not self.network and all(path.is_file() for path in (*self.read, *self.write))
