"""Code on a terminal while it is written: each piece at once, each line in colour when it is whole.

A line appears plain as its pieces come, and is written over in colour at its end, when the lexer can know what it is;
only the current line is ever touched, so nothing scrolls or flickers. A line that was too long for the terminal at any
time while it was written (a terminal may be resized) stays plain: writing it over would not meet it.
"""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable

from pygments.formatters import TerminalFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Name, Number, Operator, String, Token, _TokenType
from pygments.util import ClassNotFound

from cgcli.core.visible import columns, visible

# Colours that can be read on a dark and on a light background; what is not listed stays as the terminal has it.
_COLOURS = {
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


class Colours:
    """Colours whole lines, given in order. language: a name that Pygments knows; None, or another, stays plain."""

    def __init__(self, language: str | None) -> None:
        self._formatter = TerminalFormatter(colorscheme=_COLOURS)
        self._open = ""  # the lines from the last one that began outside of every string
        try:
            lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False) if language else None
            self._lexer: Lexer | None = lexer
        except ClassNotFound:
            self._lexer = None

    def line(self, shown: str) -> str:
        """The next line, which is visible text, in colour: lexed with those before it that it may lie in a string with.

        The line itself where there are no colours for it.
        """
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
    """Writes program text through `emit`, in the colours of `language` (see `Colours`).

    width: the terminal's, in columns, asked for at every piece.
    """

    def __init__(
        self,
        emit: Callable[[str], None],
        language: str | None,
        width: Callable[[], int] = lambda: shutil.get_terminal_size().columns,
    ) -> None:
        self._emit = emit
        self._width = width
        self._narrowest = width()  # while the current line was written
        self._colours = Colours(language)
        self._line = ""

    def write(self, text: str) -> None:
        """Show `text`, which continues what was written before; codes that drive a terminal are spelt out."""
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
        coloured = self._colours.line(line)
        if coloured != line and columns(line) < self._narrowest:
            self._emit(f"\r{coloured}\x1b[K")
        self._emit("\n")
        self._narrowest = self._width()
