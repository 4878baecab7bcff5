"""Input that is no terminal: prompts and commands line by line. Nobody is there to be asked."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import BinaryIO

from cgcli.core.errors import CgcliError
from cgcli.program.source import decode
from cgcli.repl.reader import Card


def read_joined(next_line: Callable[[], bytes]) -> str:
    """A line and those that continue it: one that ends in a backslash goes on with the next (two of them are text).

    next_line: gives a line with its end, nothing at the end of all. Bytes that are not UTF-8 become lone surrogates.
    Raises EOFError where there is no line.
    """
    lines: list[str] = []
    while data := next_line():
        line = decode(data).rstrip("\r\n")
        if (len(line) - len(line.rstrip("\\"))) % 2 == 0:
            return "\n".join([*lines, line])
        lines.append(line[:-1])
    if not lines:
        raise EOFError
    return "\n".join(lines)


class Script:
    """A Reader of `stdin`. Blank lines are skipped, and a line stands for itself: `default` is not asked about."""

    def __init__(self, stdin: BinaryIO) -> None:
        self._stdin = stdin
        self._lines = 0  # that were read
        self._first = 0  # the number of the last input's first one

    @property
    def where(self) -> str:
        return f"line {self._first}"

    def read(self, default: str = "") -> str:
        text = ""
        while not text.strip():
            self._first = self._lines + 1
            text = read_joined(self._line)
        return text

    def _line(self) -> bytes:
        self._lines += 1
        line = self._stdin.readline()
        return line.removeprefix(codecs.BOM_UTF8) if self._lines == 1 else line

    def reword(self, turn: int, text: str) -> str | None:
        return None

    def watching(self) -> AbstractContextManager[None]:
        return nullcontext()

    def lent(self) -> AbstractContextManager[None]:
        return nullcontext()

    def drop(self) -> Sequence[str]:
        return ()

    def choose(self, cards: Sequence[Card]) -> int | None:
        return None

    def edit(self, text: str, suffix: str) -> str:
        raise CgcliError("an editor needs a terminal", hint="/edit N NEW WORDS changes a prompt without one")
