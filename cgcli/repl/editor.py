"""Leaves the terminal to the user's editor (VISUAL or EDITOR, else a usual one that is installed) or shell."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from cgcli.core.errors import CgcliError
from cgcli.program.source import encode, from_file

_USUAL = ("editor", "nano", "vim", "vi", "emacs")


def edit_text(text: str, suffix: str, variables: Mapping[str, str]) -> str:
    """Open `text` in an editor, in a file with this suffix that only the user can read; returns the edited text.

    The caller must leave the terminal to the editor. A final line end that the editor adds is removed. Raises
    CgcliError if there is no editor or it fails.
    """
    command = _command(variables)
    with tempfile.TemporaryDirectory(prefix="cgcli-") as folder:
        file = Path(folder, f"edit{suffix}")
        file.write_bytes(encode(text))
        try:
            status = subprocess.call([*command, str(file)], env=dict(variables))
        except OSError as error:
            raise CgcliError(f"cannot start the editor {command[0]!r}: {error.strerror}", hint="set EDITOR") from error
        if status:
            raise CgcliError(f"the editor {command[0]!r} exited with status {status}; nothing was changed")
        try:
            edited = from_file(file.read_bytes())
        except OSError as error:
            raise CgcliError(f"the editor {command[0]!r} left no file: {error.strerror}") from error
    return edited if text.endswith("\n") else edited.removesuffix("\n")


def run_in_shell(command: str, output: int, variables: Mapping[str, str]) -> int:
    """Run a command in the user's shell, SHELL or sh; returns its status, 128 + N after signal N.

    The caller must leave the terminal to it. output: the descriptor for what it prints. Raises CgcliError if the shell
    cannot be started.
    """
    shell = variables.get("SHELL") or "/bin/sh"
    try:
        status = subprocess.call([shell, "-c", command], stdout=output, env=dict(variables))
    except OSError as error:
        raise CgcliError(f"cannot start the shell {shell!r}: {error.strerror}", hint="set SHELL") from error
    return status if status >= 0 else 128 - status


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Ignore Ctrl-C in the block: it is meant for the program that has the terminal."""
    from cgcli.native.interrupt import interruptible

    with interruptible(patient=True) as interrupt:
        try:
            yield
        finally:
            interrupt.clear()


def _command(variables: Mapping[str, str]) -> list[str]:
    for name in ("VISUAL", "EDITOR"):
        if variables.get(name, "").strip():
            with contextlib.suppress(ValueError):
                return shlex.split(variables[name])
            raise CgcliError(f"{name} is not a valid command: {variables[name]!r}", hint=f"set {name}")
    for editor in _USUAL:
        if path := shutil.which(editor, path=variables.get("PATH")):
            return [path]
    raise CgcliError("no editor found", hint="set EDITOR")
