"""The one sink of everything that a run says: programs and asked-for JSON on stdout, all else on stderr.

Colour and live rendering only on a terminal, and not with NO_COLOR or TERM=dumb. `quiet` leaves only errors on stderr,
`verbose` adds details. Knows nothing about commands or exit statuses. A BrokenPipeError of stdout passes through:
the reader has had enough, and `cgcli.cli.main` ends the run quietly. A stderr that nobody reads stops nothing.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TextIO

from cgcli.core.errors import CgcliError
from cgcli.core.progress import Progress, Silent

if TYPE_CHECKING:
    from cgcli.core.meters import Bars

Color = Literal["auto", "always", "never"]


def one_line(text: str) -> str:
    """`text` on one line that cannot drive a terminal: names from files and the network reach it."""
    line = " ".join(text.splitlines())
    if line.isprintable():
        return line
    from cgcli.core.visible import visible

    return visible(line).replace("\t", "\\x09")


def finite(value: Any) -> Any:
    """`value` with null for each number that JSON does not have: NaN, and infinity, which a perplexity can be."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {finite(key): finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def json_text(value: object) -> str:
    """`value` as indented JSON: characters that cannot be printed, or are none, as escapes; NaN, infinity as null."""
    import json

    text = json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    return "".join(c if c == "\n" or c.isprintable() else json.dumps(c)[1:-1] for c in text)


class Output:
    """Where a run writes. `quiet`, `verbose` and `color` may be set until the first word is written.

    aside: who is given notes and details, from any thread, while somebody types where they would be written.
    """

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
        self.aside: Callable[[str], None] | None = None
        self.stdout_is_terminal = stdout.isatty()
        self.stderr_is_terminal = stderr.isatty()
        self._plain = bool(variables.get("NO_COLOR")) or variables.get("TERM") == "dumb"
        self._dumb = variables.get("TERM") == "dumb"
        self._bars: Bars | None = None
        self._column = False  # whether the terminal's cursor stands behind program text

    @property
    def colour(self) -> bool:
        """Whether stdout gets colours."""
        return self._coloured(self.stdout_is_terminal)

    @property
    def stderr_colour(self) -> bool:
        """Whether stderr does."""
        return self._coloured(self.stderr_is_terminal)

    def write(self, data: bytes) -> None:
        """Program text, at once. Raises BrokenPipeError where the reader has gone, CgcliError where a disk is full."""
        try:
            self.stdout.write(data)
            self.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CgcliError(f"cannot write to standard output: {error.strerror or error}") from error
        if data:
            self._column = self.stdout_is_terminal and not data.endswith(b"\n")

    def text(self, line: str = "") -> None:
        """A line of an answer that was asked for on stdout, as it cannot drive a terminal; tabs stay."""
        from cgcli.core.visible import visible

        self.styled(visible(line))

    def styled(self, lines: str) -> None:
        """Lines of an answer as they are, with our own colours; what is not ours in them is visible already."""
        self.write(lines.encode("utf-8", "backslashreplace") + b"\n")

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]], *, give: str = "") -> None:
        """Rows under a header, in columns as wide as their widest cell.

        give: the column that is clipped, down to ten columns, where a terminal is too narrow for all of them.
        """
        from cgcli.core.visible import clipped, columns, visible

        header, *rows = [[visible(cell) for cell in row] for row in (header, *rows)]
        widths = [max(map(columns, column)) for column in zip(header, *rows, strict=True)]
        if give and self.stdout_is_terminal:
            import shutil

            at = header.index(give)
            over = sum(widths) + 2 * (len(widths) - 1) - shutil.get_terminal_size().columns
            widths[at] = min(widths[at], max(10, widths[at] - over))
        for number, row in enumerate([header, *rows]):
            cells = [clipped(cell, width) for cell, width in zip(row, widths, strict=True)]
            padded = (cell + " " * (width - columns(cell)) for cell, width in zip(cells, widths, strict=True))
            line = "  ".join(padded).rstrip()
            self.styled(f"\x1b[1m{line}\x1b[0m" if number == 0 and self.colour else line)

    def json(self, value: object) -> None:
        """`value` as JSON on stdout."""
        self.styled(json_text(value))

    def note(self, message: str) -> None:
        """A line that a person may want to know."""
        if not self.quiet:
            (self.aside or self._say)(message)

    def detail(self, message: str) -> None:
        """A line for those who asked with -v."""
        if self.verbose:
            (self.aside or self._say)(message)

    def error(self, error: CgcliError) -> None:
        """The error's one line, with what to type or do next."""
        name = "\x1b[1;31mcgcli:\x1b[0m" if self.stderr_colour else "cgcli:"
        self._say(error.line, head=f"{name} ")

    def progress(self) -> Progress:
        """A view of long work: bars on a terminal, a line now and then elsewhere, nothing when quiet."""
        if self.quiet:
            return Silent()
        from cgcli.core.meters import Bars, Lines

        if not self.stderr_is_terminal or self._dumb:
            return Lines(self._say)
        if self._bars is None:
            self._bars = Bars(self.stderr, colour=self._coloured(True), note=self._say)
        return self._bars

    def above(self, line: str) -> bool:
        """Show a line above the bars of `progress`, from any thread; False where none is drawn."""
        return self._bars is not None and self._bars.print_above(line)

    def _coloured(self, terminal: bool) -> bool:
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
