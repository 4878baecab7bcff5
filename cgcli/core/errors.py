"""The errors that users see, and their exit statuses.

    CgcliError (1)
    ├── UsageError (2)          wrong usage of the command line
    ├── ModelNotFound (3)       unknown model, or not pulled yet
    ├── NetworkError (4)        the network, the Hub or a download
    ├── ModelFileError (5)      unreadable or unsupported model file
    ├── ContextError (6)        does not fit the context window
    ├── SandboxError (7)        no sandbox available
    ├── ProgramFailed (8)       the generated program failed when run
    └── Interrupted (130)       Ctrl-C; 143 after SIGTERM, 129 after SIGHUP

A message is one line that names the thing and its value; `hint` says what to do next. `cgcli.cli.main` prints it and
exits.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitStatus(IntEnum):
    """The exit status of the process. Scripts rely on it, so numbers never change."""

    OK = 0  # done
    FAILED = 1  # failed
    USAGE = 2  # wrong usage
    NO_MODEL = 3  # no such model, or not pulled yet
    NETWORK = 4  # network or download failed
    MODEL_FILE = 5  # unreadable or unsupported model file
    CONTEXT = 6  # does not fit the context window
    NO_SANDBOX = 7  # no sandbox available
    PROGRAM_FAILED = 8  # the generated program failed when run
    INTERRUPTED = 130  # interrupted


class CgcliError(Exception):
    """An error with a one-line message, an exit status and an optional hint."""

    status: ClassVar[ExitStatus] = ExitStatus.FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def line(self) -> str:
        """The message and the hint on one line."""
        return self.message + (f"; {'type: ' * self.hint.startswith('cgcli ')}{self.hint}" if self.hint else "")


class UsageError(CgcliError):
    status = ExitStatus.USAGE


class ModelNotFound(CgcliError):
    status = ExitStatus.NO_MODEL


class NetworkError(CgcliError):
    status = ExitStatus.NETWORK


class ModelFileError(CgcliError):
    status = ExitStatus.MODEL_FILE


class ContextError(CgcliError):
    status = ExitStatus.CONTEXT


class SandboxError(CgcliError):
    status = ExitStatus.NO_SANDBOX


class ProgramFailed(CgcliError):
    status = ExitStatus.PROGRAM_FAILED


class Interrupted(CgcliError):
    status = ExitStatus.INTERRUPTED

    def __init__(self, message: str = "interrupted", *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
