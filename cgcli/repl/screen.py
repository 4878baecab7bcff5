"""Everything that the REPL says, on one stream: lines, notes, errors, code. Knows nothing about what is said, or when.

All text is shown as it is, with codes that a terminal would act on spelt out; in colour where the stream takes it. A
screen that nobody sees any more stops nothing: the reader finds out. Threads take turns.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal, TextIO

from cgcli.core.errors import CgcliError
from cgcli.terminal.text import clipped, visible, wrapped

if TYPE_CHECKING:
    from cgcli.terminal.color import LiveCode

Style = Literal["", "bold", "dim", "red", "green", "yellow", "cyan"]
_CODES: dict[Style, str] = {"bold": "1", "dim": "90", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_OURS = "cgcli:"
_QUEUED = 60
"""Columns for a line that is queued, where it is only named."""
_DIFF: dict[str, Style] = {"+": "green", "-": "red", "@": "cyan"}


def columns_of(out: TextIO) -> int:
    """How wide the terminal behind `out` is now; 80 columns where it is none, or does not say."""
    with contextlib.suppress(OSError, ValueError):
        return os.get_terminal_size(out.fileno()).columns or 80
    return 80


class Screen:
    """colour: whether `out` takes colours, and the cursor may be moved; width: asked for whenever it matters.

    Notes and errors are wrapped at words where the width is given, or `out` is a terminal.
    """

    def __init__(
        self,
        out: TextIO,
        *,
        colour: bool,
        width: Callable[[], int] | None = None,
        language: str = "python",
        quiet: bool = False,
        above: Callable[[str], bool] = lambda line: False,
    ) -> None:
        """quiet: show errors only; above: shows a line above progress that moves, where there is any (else False)."""
        self._out = out
        self._width = width or (lambda: columns_of(out))
        self._wraps = width is not None or out.isatty()
        self._quiet = quiet
        self._in_line = False  # whether the cursor stands behind text
        self._above = above
        self._asides: list[str] = []  # that wait for the end of a line
        self._lock = threading.RLock()
        self.colour = colour
        self.language = language
        """Of the program; a name that Pygments knows, or its code stays plain."""

    @property
    def width(self) -> int:
        """In columns."""
        return self._width()

    def say(self, text: str = "", style: Style = "") -> None:
        """`text`, which may have several lines, from a line of its own on."""
        self._lines(self.styled(line, style) for line in text.split("\n"))

    def note(self, text: str) -> None:
        """What a person may want to know, beside what was asked for."""
        for line in text.split("\n"):
            self.say("\n".join(self._wrapped(line)), "dim")

    def queued(self, line: str) -> None:
        """Note, from any thread, that a line is queued: as soon as no other line is open."""
        with self._lock:
            note = self.styled(f"queued: {named(line)}", "dim")
            if not self._above(note):
                self._asides.append(f"{note}\n")
                self._emit("")

    def dropped(self, lines: Sequence[str]) -> None:
        """Note that lines which were queued are not done; nothing where there are none."""
        if lines:
            count = "1 queued line is" if len(lines) == 1 else f"{len(lines)} queued lines are"
            self.note(f"{count} dropped: {' · '.join(map(named, lines))}")

    def ask(self, text: str) -> None:
        """`text`, behind which somebody types a line."""
        self._fresh_line()
        self._emit("\n".join(visible(line) for line in text.split("\n")))
        self._in_line = False

    def part(self, text: str) -> None:
        """A part of a program's output, which may begin and end within a line."""
        if not self._quiet:
            self._emit("\n".join(visible(line) for line in text.replace("\r\n", "\n").split("\n")))

    def typed(self, text: str) -> None:
        """Told of what the terminal itself has shown, because somebody typed it."""
        self._in_line = not text.endswith("\n")

    def error(self, error: CgcliError, where: str = "") -> None:
        """The error's one line, with what to type or do next; where: of the input that it is about."""
        words = " ".join(error.line.splitlines())
        first, *more = self._wrapped(f"{_OURS} {where}: {words}" if where else f"{_OURS} {words}")
        self._fresh_line()
        self._emit("\n".join([self.styled(_OURS, "red") + visible(first.removeprefix(_OURS)), *map(visible, more), ""]))

    def code(self, text: str, first: int | None = None) -> None:
        """Program text; with line numbers from `first` if that is given."""
        from cgcli.terminal.color import Highlighter

        colours = Highlighter(self.language if self.colour else None)
        lines = text.removesuffix("\n").split("\n")
        shown = [colours.line(visible(line)) for line in lines]
        if first is not None:
            digits = len(str(first + len(lines) - 1))
            shown = [self.styled(f"{n:{digits}}  ", "dim") + line for n, line in enumerate(shown, first)]
        self._lines(shown)

    def diff(self, lines: Iterable[str]) -> None:
        """Lines of a unified diff."""
        self._lines(self.styled(line.rstrip("\n"), _DIFF.get(line[:1], "")) for line in lines)

    def painted(self, text: str) -> None:
        """Text that is visible already and has colours of its own; only for screens with `colour`."""
        self._lines(text.removesuffix("\n").split("\n"))

    def stream(self) -> Stream:
        """Program text as it comes, from a line of its own on; to be closed."""
        from cgcli.terminal.color import LiveCode

        self._fresh_line()
        return Stream(LiveCode(self._emit, self.language if self.colour else None, self._width), self._fresh_line)

    def styled(self, text: str, style: Style) -> str:
        """One line as this screen shows it in that style."""
        shown = visible(text)
        return f"\x1b[{_CODES[style]}m{shown}\x1b[0m" if style and self.colour and shown else shown

    def _wrapped(self, line: str) -> list[str]:
        return wrapped(line, self.width) if self._wraps else [line]

    def _lines(self, lines: Iterable[str]) -> None:
        if not self._quiet:
            self._fresh_line()
            self._emit("".join(line + "\n" for line in lines))

    def _fresh_line(self) -> None:
        if self._in_line:
            self._emit("\n")

    def _emit(self, text: str) -> None:
        with self._lock:
            self._write(text)
            if not self._in_line:
                asides, self._asides = self._asides, []
                self._write("".join(asides))

    def _write(self, text: str) -> None:
        if not text:
            return
        self._in_line = not text.endswith("\n")
        encoding = self._out.encoding or "utf-8"
        with contextlib.suppress(OSError, ValueError):
            self._out.write(text.encode(encoding, "replace").decode(encoding))
            self._out.flush()


def named(line: str) -> str:
    """A typed line in a few words."""
    return clipped(visible(" ".join(line.split())), _QUEUED)


class Stream:
    """Where code goes while it is written."""

    def __init__(self, code: LiveCode, end: Callable[[], None]) -> None:
        self._code = code
        self._end = end

    def write(self, text: str) -> None:
        self._code.write(text)

    def close(self) -> None:
        """End the line that the code may have left open."""
        self._end()
