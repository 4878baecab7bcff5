"""Colors for code: syntax highlighting of lines, also while they are being written, and colors by probability."""

from __future__ import annotations

import codecs
import io
import math
import re
import shutil
from collections.abc import Callable, Iterable, Iterator

from pygments.formatters import TerminalFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Name, Number, Operator, String, Token, _TokenType
from pygments.util import ClassNotFound

from cgcli.terminal.text import columns, visible

# Readable on dark and light backgrounds; everything else keeps the terminal's own color.
_SYNTAX = {
    Token: ("", ""),
    Comment: ("brightblack", "brightblack"),
    Keyword: ("magenta", "magenta"),
    Operator.Word: ("magenta", "magenta"),
    Name.Class: ("*blue*", "*blue*"),
    Name.Function: ("*blue*", "*blue*"),
    Name.Decorator: ("blue", "blue"),
    String: ("green", "green"),
    Number: ("cyan", "cyan"),
}


# The color from each probability on; readable on dark and light backgrounds.
_BY_PROBABILITY = ((0.5, ""), (0.1, "36"), (0.01, "35"), (0.0001, "31"), (0.0, "7;31"))
_UNSCORED = "90"


class Highlighter:
    """Highlights lines of code, given in order."""

    def __init__(self, language: str | None) -> None:
        """language: a Pygments name; with None or an unknown name, lines stay plain."""
        self._formatter = TerminalFormatter(colorscheme=_SYNTAX)
        self._open = ""  # the lines since the last one that began outside any string
        try:
            lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False) if language else None
            self._lexer: Lexer | None = lexer
        except ClassNotFound:
            self._lexer = None

    def line(self, shown: str) -> str:
        """Highlight the next line of visible text. Earlier lines are lexed with it if both may be in one string."""
        if self._lexer is None:
            return shown
        self._open += shown + "\n"
        last: list[tuple[_TokenType, str]] = []
        for kind, value in self._lexer.get_tokens(self._open):
            for part in re.findall(r"[^\n]*\n|[^\n]+", value):
                if last and last[-1][1].endswith("\n"):
                    last.clear()
                last.append((kind, part))
        if last[-1][0] not in String and last[-1][0] not in Comment.Multiline:
            self._open = ""
        sink = io.StringIO()
        self._formatter.format(((kind, value.rstrip("\n")) for kind, value in last), sink)
        return sink.getvalue().rstrip("\n")


class LiveCode:
    """Writes code to a terminal as it is generated: each piece at once, and each line highlighted when it is complete.

    Pieces appear plain. At the end of a line, when the lexer can tell what it is, the line is overwritten in color.
    Only the current line is ever touched, so nothing scrolls or flickers. A line that was ever too long for the
    terminal, which may be resized meanwhile, stays plain: overwriting would miss its beginning.
    """

    def __init__(
        self,
        emit: Callable[[str], None],
        language: str | None,
        width: Callable[[], int] = lambda: shutil.get_terminal_size().columns,
    ) -> None:
        """language: as for `Highlighter`. width: returns the terminal's columns; called for every piece."""
        self._emit = emit
        self._width = width
        self._narrowest = width()  # the smallest width while the current line was written
        self._highlighter = Highlighter(language)
        self._line = ""

    def write(self, text: str) -> None:
        """Show `text`, which continues what was written before; control characters are escaped."""
        *lines, rest = text.split("\n")
        for line in lines:
            self._emit(self._add(line))
            self._end_line()
        self._emit(self._add(rest))

    def _add(self, text: str) -> str:
        shown = visible(text)
        self._line += shown
        self._narrowest = min(self._narrowest, self._width())
        return shown

    def _end_line(self) -> None:
        line, self._line = self._line, ""
        highlighted = self._highlighter.line(line)
        if highlighted != line and columns(line) < self._narrowest:
            self._emit(f"\r{highlighted}\x1b[K")
        self._emit("\n")
        self._narrowest = self._width()


def colored_by_probability(pieces: Iterable[tuple[bytes, float | None]]) -> Iterator[str]:
    """Color each piece by its log-probability in nats, or None if it was not scored: the less likely, the hotter.

    A character split across pieces is yielded with the last of them. Surprising white space is underlined, and a
    surprising line end is marked with ⏎.
    """
    utf8 = codecs.getincrementaldecoder("utf-8")("replace")
    for piece, logprob in pieces:
        color = _UNSCORED if logprob is None else _color(logprob)
        *lines, rest = utf8.decode(piece).split("\n")
        yield "".join(_painted(line + "⏎", color) + "\n" if color else visible(line) + "\n" for line in lines)
        yield _painted(rest, color)


def probability_legend() -> str:
    """One line that explains the colors of `colored_by_probability`."""
    levels = ", ".join(_painted(f"{100 * least:g} %", color) for least, color in _BY_PROBABILITY[:-1])
    rest = _painted("less", _BY_PROBABILITY[-1][1])
    return f"probability at least {levels}, {rest}; {_painted('not scored', _UNSCORED)}"


def _color(logprob: float) -> str:
    return next(color for least, color in _BY_PROBABILITY if math.exp(logprob) >= least)


def _painted(text: str, color: str) -> str:
    if not text or not color:
        return visible(text)
    blank = "4;" if text.isspace() else ""
    return f"\x1b[{blank}{color}m{visible(text)}\x1b[0m"
