"""The REPL's output, on one stream: lines, notes, errors, code.

Control characters are escaped, and colors used if the stream takes them. Write errors are ignored: the reader notices
that the terminal is gone. Safe to use from several threads.
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
_QUEUED_COLUMNS = 60  # for a queued line in a note
_DIFF: dict[str, Style] = {"+": "green", "-": "red", "@": "cyan"}


def columns_of(out: TextIO) -> int:
    """Current width of the terminal behind `out`; 80 if it is not a terminal or does not say."""
    with contextlib.suppress(OSError, ValueError):
        return os.get_terminal_size(out.fileno()).columns or 80
    return 80


class Screen:
    """Where the REPL prints. Lines are wrapped if `width` is given or `out` is a terminal."""

    def __init__(
        self,
        out: TextIO,
        *,
        color: bool,
        width: Callable[[], int] | None = None,
        language: str = "python",
        quiet: bool = False,
        above: Callable[[str], bool] = lambda line: False,
    ) -> None:
        """color: whether `out` takes colors and cursor movements; width: returns the current columns.

        quiet: print errors only. above: prints a line above the progress bars; returns False if none are shown.
        """
        self._out = out
        self._width = width or (lambda: columns_of(out))
        self._wraps = width is not None or out.isatty()
        self._quiet = quiet
        self._in_line = False  # the cursor is after text
        self._above = above
        self._asides: list[str] = []  # notes that wait for the end of the line
        self._lock = threading.RLock()
        self._live: LiveCode | None = None  # the code that was streamed last
        self.color = color
        self.language = language  # of the program, for Pygments; code stays plain if it does not know it

    @property
    def width(self) -> int:
        """Columns of the terminal."""
        return self._width()

    @property
    def descriptor(self) -> int:
        """Of the stream that it prints on, for another program."""
        self._fresh_line()
        self._out.flush()
        return self._out.fileno()

    def say(self, text: str = "", style: Style = "") -> None:
        """Print lines, starting on a new line. Lines wider than the terminal break between words."""
        self._lines(self.styled(part, style) for line in text.split("\n") for part in self._wrapped(line))

    def note(self, text: str) -> None:
        """Print side information, dimmed."""
        self.say(text, "dim")

    def queued(self, line: str) -> None:
        """Note that a line was queued, as soon as the current line ends. May be called from any thread."""
        with self._lock:
            note = self.styled(f"queued: {shortened(line)}", "dim")
            if not self._above(note):
                self._asides.append(f"{note}\n")
                self._emit("")

    def dropped(self, lines: Sequence[str]) -> None:
        """Note that queued lines were dropped, if there are any."""
        if lines:
            count = "1 queued line" if len(lines) == 1 else f"{len(lines)} queued lines"
            self.note(f"dropped {count}: {' · '.join(map(shortened, lines))}")

    def ask(self, text: str) -> None:
        """Print a question; the answer is typed after it."""
        self._fresh_line()
        self._emit("\n".join(visible(line) for line in text.split("\n")))
        self._in_line = False

    def part(self, text: str) -> None:
        """Print a part of a program's output, which may begin and end within a line."""
        if not self._quiet:
            self._emit("\n".join(visible(line) for line in text.replace("\r\n", "\n").split("\n")))

    def typed(self, text: str) -> None:
        """Account for text that the terminal has echoed."""
        self._in_line = not text.endswith("\n")

    def error(self, error: CgcliError, where: str = "") -> None:
        """Print an error and its hint in one line. where: the place in the input."""
        words = " ".join(error.line.splitlines())
        first, *more = self._wrapped(f"{_OURS} {where}: {words}" if where else f"{_OURS} {words}")
        self._fresh_line()
        self._emit("\n".join([self.styled(_OURS, "red") + visible(first.removeprefix(_OURS)), *map(visible, more), ""]))

    def code(self, text: str, first: int | None = None) -> None:
        """Print program text; with line numbers from `first` if given."""
        from cgcli.terminal.color import Highlighter

        colors = Highlighter(self.language if self.color else None)
        lines = text.removesuffix("\n").split("\n")
        shown = [colors.line(visible(line)) for line in lines]
        if first is not None:
            digits = len(str(first + len(lines) - 1))
            shown = [self.styled(f"{n:{digits}}  ", "dim") + line for n, line in enumerate(shown, first)]
        self._lines(shown)

    def diff(self, lines: Iterable[str]) -> None:
        """Print the lines of a unified diff."""
        self._lines(self.styled(line.rstrip("\n"), _DIFF.get(line[:1], "")) for line in lines)

    def painted(self, text: str) -> None:
        """Print text that has its own colors and no other control characters; only if `color` is set."""
        self._lines(text.removesuffix("\n").split("\n"))

    def stream(self) -> CodeStream:
        """Start streaming program text, on a new line. The caller closes the stream."""
        from cgcli.terminal.color import LiveCode

        self._fresh_line()
        self._live = LiveCode(self._emit, self.language if self.color else None, self._width)
        return CodeStream(self._live, self._fresh_line)

    def styled(self, text: str, style: Style) -> str:
        """One line with the escape codes of a style."""
        shown = visible(text)
        return f"\x1b[{_CODES[style]}m{shown}\x1b[0m" if style and self.color and shown else shown

    def _wrapped(self, line: str) -> list[str]:
        return wrapped(line, self.width) if self._wraps else [line]

    def _lines(self, lines: Iterable[str]) -> None:
        if not self._quiet:
            self._fresh_line()
            self._emit("".join(line + "\n" for line in lines))
            if self._live:
                self._live.settle()

    def _fresh_line(self) -> None:
        if self._in_line:
            self._emit("\n")

    def _emit(self, text: str) -> None:
        with self._lock:
            self._write(text)
            if not self._in_line:
                asides, self._asides = self._asides, []
                self._write("".join(asides))
                if asides and self._live:
                    self._live.settle()

    def _write(self, text: str) -> None:
        if not text:
            return
        self._in_line = not text.endswith("\n")
        encoding = self._out.encoding or "utf-8"
        with contextlib.suppress(OSError, ValueError):
            self._out.write(text.encode(encoding, "replace").decode(encoding))
            self._out.flush()


def shortened(line: str) -> str:
    """A typed line, cut to fit into a note."""
    return clipped(visible(" ".join(line.split())), _QUEUED_COLUMNS)


class CodeStream:
    """Prints code while it is generated."""

    def __init__(self, code: LiveCode, end: Callable[[], None]) -> None:
        self._code = code
        self._end = end

    def write(self, text: str) -> None:
        self._code.write(text)

    def preview(self, text: str) -> None:
        """Show what may follow; it replaces the last preview."""
        self._code.preview(text)

    def close(self) -> None:
        """End the current line."""
        self._end()
