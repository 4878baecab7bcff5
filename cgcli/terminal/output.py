"""Everything that a run prints: programs and requested JSON on stdout, everything else on stderr.

Colors and live rendering need a terminal, and are off with NO_COLOR or TERM=dumb. `quiet` leaves only errors on stderr;
`verbose` adds details. A BrokenPipeError on stdout passes through, and `cgcli.cli.main` then exits quietly; a closed
stderr is ignored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO, TextIO

from cgcli.core.errors import CgcliError
from cgcli.core.progress import Progress, Silent
from cgcli.terminal.text import clipped, columns, json_text, one_line, visible

if TYPE_CHECKING:
    from cgcli.core.config import Color
    from cgcli.terminal.clipboard import Clipboard
    from cgcli.terminal.meters import ProgressBars


class Output:
    """Where a run writes. `quiet`, `verbose` and `color` may be changed until the first write."""

    def __init__(
        self,
        stdout: BinaryIO,
        stderr: TextIO,
        variables: Mapping[str, str],
        *,
        quiet: bool = False,
        verbose: bool = False,
        color: Color = "auto",
    ) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self.quiet = quiet
        self.verbose = verbose
        self.color = color
        #: Takes notes and details, from any thread, while the user is typing on stderr's terminal.
        self.notes_to: Callable[[str], None] | None = None
        self.stdout_is_terminal = stdout.isatty()
        self.stderr_is_terminal = stderr.isatty()
        self._variables = variables
        self._plain = bool(variables.get("NO_COLOR")) or variables.get("TERM") == "dumb"
        self._dumb = variables.get("TERM") == "dumb"
        self._bars: ProgressBars | None = None
        self._column = False  # the cursor is behind program text, not at the start of a line

    @property
    def stdout_color(self) -> bool:
        """Whether text on stdout is colored."""
        return self._colored(self.stdout_is_terminal)

    @property
    def stderr_color(self) -> bool:
        """Whether text on stderr is colored."""
        return self._colored(self.stderr_is_terminal)

    def write(self, data: bytes) -> None:
        """Write program text at once. Raises BrokenPipeError if the reader is gone, CgcliError if the disk is full."""
        try:
            self.stdout.write(data)
            self.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CgcliError(f"cannot write to standard output: {error.strerror or error}") from error
        if data:
            self._column = self.stdout_is_terminal and not data.endswith(b"\n")

    def clipboard(self) -> Clipboard:
        """The clipboard of the terminal, or of a program. Raises CgcliError if there is none."""
        from cgcli.terminal.clipboard import find_clipboard

        write = self.write if self.stdout_is_terminal else None
        if self.stderr_is_terminal:
            write = self._write_stderr
        return find_clipboard(self._variables, write)

    def _write_stderr(self, data: bytes) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.stderr.write(data.decode())
            self.stderr.flush()

    def text(self, line: str = "") -> None:
        """Write a line to stdout with its control characters escaped, except for tabs."""
        self.styled(visible(line))

    def styled(self, lines: str) -> None:
        """Write lines to stdout as they are. The caller has passed all foreign text through `visible`."""
        self.write(lines.encode("utf-8", "backslashreplace") + b"\n")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]], *, clip: str = "") -> None:
        """Write rows under a header to stdout; each column is as wide as its widest cell.

        clip: the header of the column that gives way, down to 10 characters, if the terminal is too narrow.
        """
        header, *rows = [[visible(cell) for cell in row] for row in (header, *rows)]
        widths = [max(map(columns, column)) for column in zip(header, *rows, strict=True)]
        if clip and self.stdout_is_terminal:
            import shutil

            at = header.index(clip)
            over = sum(widths) + 2 * (len(widths) - 1) - shutil.get_terminal_size().columns
            widths[at] = min(widths[at], max(10, widths[at] - over))
        for number, row in enumerate([header, *rows]):
            cells = [clipped(cell, width) for cell, width in zip(row, widths, strict=True)]
            padded = (cell + " " * (width - columns(cell)) for cell, width in zip(cells, widths, strict=True))
            line = "  ".join(padded).rstrip()
            self.styled(f"\x1b[1m{line}\x1b[0m" if number == 0 and self.stdout_color else line)

    def json(self, value: object) -> None:
        """Write `value` to stdout as JSON."""
        self.styled(json_text(value))

    def note(self, message: str) -> None:
        """Print a line unless quiet."""
        if not self.quiet:
            (self.notes_to or self._say)(message)

    def detail(self, message: str) -> None:
        """Print a line if verbose."""
        if self.verbose:
            (self.notes_to or self._say)(message)

    def error(self, error: CgcliError) -> None:
        """Print the error and its hint on one line."""
        name = "\x1b[1;31mcgcli:\x1b[0m" if self.stderr_color else "cgcli:"
        self._say(error.line, head=f"{name} ")

    def progress(self) -> Progress:
        """How to report long work: bars on a terminal, occasional lines elsewhere, nothing if quiet."""
        if self.quiet:
            return Silent()
        from cgcli.terminal.meters import ProgressBars, ProgressLines

        if not self.stderr_is_terminal or self._dumb:
            return ProgressLines(self._say)
        if self._bars is None:
            self._bars = ProgressBars(self.stderr, colored=self._colored(True), note=self._say)
        return self._bars

    def above(self, line: str) -> bool:
        """Print a line above the progress bars, from any thread. Returns False if no bar is shown."""
        return self._bars is not None and self._bars.print_above(line)

    def _colored(self, terminal: bool) -> bool:
        return self.color == "always" or (self.color == "auto" and terminal and not self._plain)

    def _say(self, message: str, head: str = "") -> None:
        line = head + one_line(message)
        if self.above(line):
            return
        # A line on the same terminal must not run on from unfinished program text.
        start = "\n" if self._column and self.stderr_is_terminal else ""
        self._column = False
        with contextlib.suppress(OSError, ValueError):
            self.stderr.write(f"{start}{line}\n")
            self.stderr.flush()
