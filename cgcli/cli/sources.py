"""Where commands get what they read: prompts and the program so far, from arguments, files, stdin."""

from __future__ import annotations

import os
import re
import select
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cgcli.core.errors import CgcliError, UsageError

_PATIENCE_S = 2


def stdin_bytes(waiting: Callable[[], None]) -> bytes:
    """All of stdin if somebody feeds it: a pipe, a file or a socket. A terminal, or nothing at all, gives nothing.

    waiting: called once where nothing comes for a while.
    """
    if sys.stdin is None:
        return b""
    mode = os.fstat(sys.stdin.fileno()).st_mode
    fed = stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)
    if fed and not select.select([sys.stdin], [], [], _PATIENCE_S)[0]:
        waiting()
    return sys.stdin.buffer.read() if fed else b""


def file_bytes(path: Path) -> bytes:
    """A program to go on with; nothing where there is no such file yet."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise CgcliError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error


def given_bytes(file: Path, *, hint: str) -> bytes:
    """A file that must be there; `-` is stdin. Raises UsageError with `hint` where it is not, CgcliError."""
    if str(file) == "-":
        return sys.stdin.buffer.read() if sys.stdin else b""
    if not file.exists():
        raise UsageError(f"there is no file {file}", hint=hint)
    return file_bytes(file)


def prompts_of(arguments: Sequence[str], files: Sequence[Path], *, raw: bool = False) -> list[str]:
    """The arguments, then the files' lines that are not blank; `-` is stdin.

    raw: any bytes will do; else they must be text. Raises UsageError for those that are not, CgcliError.
    """
    from cgcli.program.program import checked_prompt, decode

    prompts = [(f"prompt {number}", prompt) for number, prompt in enumerate(arguments, 1)]
    for what, prompt in prompts:
        if not prompt.removeprefix("\ufeff").strip():
            raise UsageError(f"{what} is empty", hint='cgcli gen "read a CSV and print the mean of each column"')
    for file in files:
        name = "stdin" if str(file) == "-" else str(file)
        text = decode(given_bytes(file, hint="give -f a file with a prompt a line")).removeprefix("\ufeff")
        lines = enumerate(re.split("\r?\n", text), 1)
        prompts += [(f"{name}, line {number}", line.strip()) for number, line in lines if line.strip()]
    return [prompt if raw else checked_prompt(prompt, what) for what, prompt in prompts]
