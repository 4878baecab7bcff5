"""Where `gen` puts the text of a program while it is written: stdout, a terminal in colour, a file."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from cgcli.core.errors import CgcliError
from cgcli.core.files import check_writable, write_atomic
from cgcli.core.output import Output
from cgcli.program.program import encode


class Sink(Protocol):
    def write(self, text: str) -> None: ...

    def close(self) -> None:
        """All has been written. Raises CgcliError where it cannot be kept."""
        ...


class Plain:
    """stdout, the bytes as they are."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def write(self, text: str) -> None:
        self._output.write(encode(text))

    def close(self) -> None: ...


class Live:
    """A terminal: codes that would drive it are spelt out; in colour if `language` is given."""

    def __init__(self, output: Output, language: str | None) -> None:
        from cgcli.core.live import LiveCode

        self._code = LiveCode(lambda text: output.write(text.encode("utf-8", "replace")), language)

    def write(self, text: str) -> None:
        self._code.write(text)

    def close(self) -> None: ...


class Nowhere:
    """For runs whose answer comes at the end."""

    def write(self, text: str) -> None: ...

    def close(self) -> None: ...


class File:
    """A file, written whole at the end; `view` shows the text as it comes. before: bytes that the file starts with.

    Raises CgcliError at once where the file could not be written. Where it cannot in the end (a full disk, a file that
    somebody else changed meanwhile), the new text goes to stdout, so that it is not lost.
    """

    def __init__(self, path: Path, view: Sink, output: Output, *, before: bytes | None = None) -> None:
        check_writable(path)
        self._path = path
        self._view = view
        self._output = output
        self._before = before
        self._new: list[str] = []

    def write(self, text: str) -> None:
        self._new.append(text)
        self._view.write(text)

    def close(self) -> None:
        self._view.close()
        new = encode("".join(self._new))
        if not new:
            return
        try:
            if self._before is not None and self._read() != self._before:
                raise CgcliError(
                    f"{self._path} was changed meanwhile, and is left as it is", hint="add the text on stdout"
                )
            write_atomic(self._path, (self._before or b"") + new)
        except CgcliError:
            if not self._output.stdout_is_terminal:
                self._output.write(new)
            raise

    def _read(self) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return b""


def sink_for(output: Output, language: str, *, quiet: bool = False) -> Sink:
    """stdout as it should be written: coloured on a terminal, plain elsewhere; quiet: only shown to a person."""
    if output.stdout_is_terminal and not (quiet and output.quiet):
        return Live(output, language if output.colour else None)
    return Nowhere() if quiet else Plain(output)
