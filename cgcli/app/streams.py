"""Where a program comes from and where it goes: arguments, files and stdin; stdout, a terminal in color, a file."""

from __future__ import annotations

import os
import re
import select
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from cgcli.core.errors import CgcliError, UsageError
from cgcli.core.files import check_writable, locked, write_atomic
from cgcli.core.reading import read_if_possible
from cgcli.program.source import encode, for_file, newline_of
from cgcli.terminal.output import Output


class Bytes:
    """The bytes of a text that comes in pieces, with the line ends of the file `before` it; begins: with that file."""

    def __init__(self, before: bytes = b"", *, begins: bool = False) -> None:
        self._newline = newline_of(before)
        self._due = before if begins else b""

    def __call__(self, piece: str) -> bytes:
        due, self._due = self._due, b""
        return for_file(piece, due) if due else encode(piece).replace(b"\n", self._newline)


class Sink(Protocol):
    def write(self, text: str) -> None: ...

    def close(self) -> None:
        """All has been written. Raises CgcliError where it cannot be kept."""
        ...


class Plain:
    """stdout."""

    def __init__(self, output: Output, how: Bytes) -> None:
        self._output = output
        self._how = how

    def write(self, text: str) -> None:
        self._output.write(self._how(text))

    def close(self) -> None: ...


class Live:
    """A terminal: codes that would drive it are spelt out; in colour if `language` is given."""

    def __init__(self, output: Output, language: str | None) -> None:
        from cgcli.terminal.color import LiveCode

        self._code = LiveCode(lambda text: output.write(text.encode("utf-8", "replace")), language)

    def write(self, text: str) -> None:
        self._code.write(text)

    def close(self) -> None: ...


class Nowhere:
    """For runs whose answer comes at the end."""

    def write(self, text: str) -> None: ...

    def close(self) -> None: ...


class File:
    """A file, written whole at the end; `view` shows the text as it comes.

    before: bytes that the file starts with; None: it is written anew. json: stdout gets JSON that has the text, too.
    Raises CgcliError at once where the file could not be written. Where it cannot in the end (a full disk, a file that
    somebody else changed meanwhile), the new text goes to stdout, so that it is not lost.
    """

    def __init__(
        self, path: Path, view: Sink, output: Output, how: Bytes, *, before: bytes | None = None, json: bool = False
    ) -> None:
        check_writable(path)
        self._path = path
        self._view = view
        self._output = output
        self._how = how
        self._before = before or b""
        self._found = read_if_possible(path) if before is None else before
        self._json = json
        self._new: list[bytes] = []

    def write(self, text: str) -> None:
        self._new.append(self._how(text))
        self._view.write(text)

    def close(self) -> None:
        self._view.close()
        new = b"".join(self._new)
        if not new:
            return
        try:
            with locked(self._path):
                if read_if_possible(self._path) != self._found:
                    hint = f"the new text is {'in the JSON' if self._json else 'on stdout'}"
                    raise CgcliError(f"{self._path} was changed meanwhile, and is left as it is", hint=hint)
                write_atomic(self._path, self._before + new)
        except CgcliError:
            if not self._json and not isinstance(self._view, Live):
                self._output.write(new)
            raise


def sink_for(output: Output, language: str, how: Bytes | None = None, *, quiet: bool = False) -> Sink:
    """stdout as it should be written: coloured on a terminal, plain elsewhere; quiet: only shown to a person."""
    if output.stdout_is_terminal and not (quiet and output.quiet):
        return Live(output, language if output.stdout_color else None)
    return Nowhere() if quiet else Plain(output, how or Bytes())


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
    from cgcli.program.program import checked_prompt
    from cgcli.program.source import decode

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
