"""`cgcli` and `python -m cgcli`. The version is answered before anything else is imported (contract: 80 ms)."""

from __future__ import annotations

import gc
import os
import sys

gc.set_threshold(50_000)  # imports make many objects and hardly any garbage: searching for it takes 10 ms of a start


def main() -> int:
    """Run the command line of this process and return its exit status."""
    _open_standard_streams()
    try:
        if sys.argv[1:] == ["--version"] and _version():
            return 0
        from cgcli.cli.main import main as run

        return run(sys.argv[1:])
    except KeyboardInterrupt:  # during an import
        return 130


def _open_standard_streams() -> None:
    """Cron jobs and daemons may start with 0, 1 or 2 closed: what is opened next, such as a socket, would get that
    number and be taken for a standard stream. For Python they stay closed: sys.stdout is None."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _version() -> bool:
    """Print the version; False where stdout cannot be written, which the command line proper reports."""
    from cgcli import __version__

    try:
        sys.stdout.write(f"cgcli {__version__}\n")
        sys.stdout.flush()
    except (OSError, AttributeError):  # a full disk or a closed pipe; no stdout at all
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
