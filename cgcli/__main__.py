"""`cgcli` and `python -m cgcli`. The version is answered before anything else is imported (contract: 80 ms)."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line of this process and return its exit status."""
    try:
        if sys.argv[1:] == ["--version"] and _version():
            return 0
        from cgcli.cli.main import main as run

        return run(sys.argv[1:])
    except KeyboardInterrupt:  # during an import
        return 130


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
