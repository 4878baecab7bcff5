"""Text in and out: prompts and programs from arguments, files and stdin; sinks for stdout, a terminal and a file."""

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
from cgcli.core.files import check_writable, locked, replace_if, write_atomic
from cgcli.core.reading import read_if_possible
from cgcli.program.source import checked_prompt, decode, encode, for_file, newline_of
from cgcli.terminal.output import Output

PROMPT_HINT = 'cgcli gen "read a CSV and print the mean of each column"'
_PATIENCE_S = 2


class Encoder:
    """Turns a text that comes in pieces into bytes, with the line ends of the file `before`.

    begins: that file is the beginning of the text; it keeps its bytes.
    """

    def __init__(self, before: bytes = b"", *, begins: bool = False) -> None:
        self._newline = newline_of(before)
        self._due = before if begins else b""

    def __call__(self, piece: str) -> bytes:
        due, self._due = self._due, b""
        return for_file(piece, due) if due else encode(piece).replace(b"\n", self._newline)


class Sink(Protocol):
    """Takes the text of a program while it is written."""

    def write(self, text: str) -> None: ...

    def preview(self, text: str) -> None:
        """Show what may follow the text; it replaces the last preview. Only a terminal shows it."""
        ...

    def settle(self) -> None:
        """Leave what a terminal shows as it is: something else was printed below it."""
        ...

    def close(self) -> None:
        """Finish after the last piece. Raises CgcliError if the text cannot be stored."""
        ...


class StdoutSink:
    """stdout."""

    def __init__(self, output: Output, encode: Encoder) -> None:
        self._output = output
        self._encode = encode

    def write(self, text: str) -> None:
        self._output.write(self._encode(text))

    def preview(self, text: str) -> None: ...

    def settle(self) -> None: ...

    def close(self) -> None: ...


class TerminalSink:
    """A terminal. Escapes control characters; highlights `language` if one is given."""

    def __init__(self, output: Output, language: str | None) -> None:
        from cgcli.terminal.color import LiveCode

        self._code = LiveCode(lambda text: output.write(text.encode("utf-8", "replace")), language)

    def write(self, text: str) -> None:
        self._code.write(text)

    def preview(self, text: str) -> None:
        self._code.preview(text)

    def settle(self) -> None:
        self._code.settle()

    def close(self) -> None: ...


class NullSink:
    """Discards everything."""

    def write(self, text: str) -> None: ...

    def preview(self, text: str) -> None: ...

    def settle(self) -> None: ...

    def close(self) -> None: ...


class FileSink:
    """A file, replaced in one step at the end; `view` shows the text meanwhile.

    before: the file's bytes, which are kept; None replaces them. json: the text is also in the JSON on stdout.
    Raises CgcliError at once if the file is not writable. If it cannot be written in the end (a full disk, or another
    program changed it), the new text goes to stdout and is not lost.
    """

    def __init__(
        self,
        path: Path,
        view: Sink,
        output: Output,
        encode: Encoder,
        *,
        before: bytes | None = None,
        json: bool = False,
    ) -> None:
        check_writable(path)
        self._path = path
        self._view = view
        self._output = output
        self._encode = encode
        self._before = before or b""
        self._found = read_if_possible(path) if before is None else before
        self._json = json
        self._new: list[bytes] = []

    def write(self, text: str) -> None:
        self._new.append(self._encode(text))
        self._view.write(text)

    def preview(self, text: str) -> None:
        self._view.preview(text)

    def settle(self) -> None:
        self._view.settle()

    def close(self) -> None:
        self._view.close()
        new = b"".join(self._new)
        if not new:
            return
        from cgcli.native.interrupt import Interrupt

        try:
            if not self._replace(self._before + new, lambda: Interrupt().requested):
                hint = f"the new text is {'in the JSON' if self._json else 'on stdout'}"
                raise CgcliError(f"{self._path} changed in the meantime; it was not overwritten", hint=hint)
        except CgcliError:
            if not self._json and not isinstance(self._view, TerminalSink):
                self._output.write(new)
            raise

    def _replace(self, text: bytes, interrupted: Callable[[], bool]) -> bool:
        """Write the file; False if it is not what it was at the start."""
        if self._found:
            return replace_if(self._path, self._found, text, interrupted)
        with locked(self._path, interrupted):
            if read_if_possible(self._path):
                return False
            write_atomic(self._path, text)
            return True


def stdout_sink(output: Output, language: str, encode: Encoder | None = None, *, view: bool = False) -> Sink:
    """stdout: highlighted on a terminal, plain otherwise. view: only for a person to watch; nothing into a pipe."""
    if output.stdout_is_terminal and not (view and output.quiet):
        return TerminalSink(output, language if output.stdout_color else None)
    return NullSink() if view else StdoutSink(output, encode or Encoder())


def stdin_bytes(waiting: Callable[[], None]) -> bytes:
    """All of stdin, if it is a pipe, a file or a socket; nothing if it is a terminal or closed.

    waiting: called once if nothing arrives for a while.
    """
    if sys.stdin is None:
        return b""
    mode = os.fstat(sys.stdin.fileno()).st_mode
    fed = stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)
    if fed and not select.select([sys.stdin], [], [], _PATIENCE_S)[0]:
        waiting()
    return sys.stdin.buffer.read() if fed else b""


def file_bytes(path: Path) -> bytes:
    """The bytes of a file; empty if it does not exist. Raises CgcliError if it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise CgcliError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error


def given_bytes(file: Path, *, hint: str) -> bytes:
    """The bytes of a file that must exist, or of stdin for `-`. Raises UsageError with `hint` if it does not."""
    if str(file) == "-":
        return sys.stdin.buffer.read() if sys.stdin else b""
    if not file.exists():
        raise UsageError(f"no such file: {file}", hint=hint)
    return file_bytes(file)


def prompts_of(arguments: Sequence[str], files: Sequence[Path], *, raw: bool = False) -> list[str]:
    """The arguments, then every line of the files that is not blank; `-` is stdin.

    raw: allow any bytes. Raises UsageError for a prompt that is empty or not text, CgcliError for an unreadable file.
    """
    prompts = [(f"prompt {number}", prompt) for number, prompt in enumerate(arguments, 1)]
    for what, prompt in prompts:
        if not prompt.removeprefix("\ufeff").strip():
            raise UsageError(f"{what} is empty", hint=PROMPT_HINT)
    for file in files:
        name = "stdin" if str(file) == "-" else str(file)
        text = decode(given_bytes(file, hint="give -f a file with one prompt per line")).removeprefix("\ufeff")
        lines = enumerate(re.split("\r?\n", text), 1)
        prompts += [(f"{name}, line {number}", line.strip()) for number, line in lines if line.strip()]
    return [prompt if raw else checked_prompt(prompt, what) for what, prompt in prompts]
