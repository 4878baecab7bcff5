"""Code on a terminal while it is written: each piece at once, each line in colour when it is whole.

A line appears plain as its pieces come, and is written over in colour at its end, when the lexer can know what it is;
only the current line is ever touched, so nothing scrolls or flickers. A line too long for the terminal stays plain.
"""

from __future__ import annotations

import io
import re
import shutil
import unicodedata
from collections.abc import Callable

from pygments.formatters import TerminalFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Name, Number, Operator, String, Token
from pygments.util import ClassNotFound

_TAB = 8

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


class LiveCode:
    """Writes program text through `emit`. language: a name that Pygments knows; others stay plain."""

    def __init__(self, emit: Callable[[str], None], language: str) -> None:
        self._emit = emit
        self._formatter = TerminalFormatter(colorscheme=_COLOURS)
        self._done = ""
        self._line = ""
        try:
            self._lexer: Lexer | None = get_lexer_by_name(language, stripnl=False, ensurenl=False)
        except ClassNotFound:
            self._lexer = None

    def write(self, text: str) -> None:
        """Show `text`, which continues what was written before; codes that drive a terminal are spelt out."""
        while text:
            head, end, text = text.partition("\n")
            shown = _visible(head)
            self._line += shown
            self._emit(shown)
            if end:
                self._end_line()

    def _end_line(self) -> None:
        line, self._line = self._line, ""
        self._done += line + "\n"
        if self._lexer and 0 < _width(line) < shutil.get_terminal_size().columns:
            self._emit("\r" + self._coloured_last_line() + "\x1b[K")
        self._emit("\n")

    def _coloured_last_line(self) -> str:
        """The last whole line, lexed with all before it: it may lie in a string that began there."""
        assert self._lexer
        last: list[tuple[object, str]] = []
        for kind, value in self._lexer.get_tokens(self._done):
            for part in re.findall(r"[^\n]*\n|[^\n]+", value):
                if last and last[-1][1].endswith("\n"):
                    last.clear()
                last.append((kind, part))
        sink = io.StringIO()
        self._formatter.format(((kind, value.rstrip("\n")) for kind, value in last), sink)
        return sink.getvalue().rstrip("\n")


def _visible(text: str) -> str:
    """Control characters but tabs spelt out, so that a program cannot drive the terminal that shows it."""
    return "".join(c if c == "\t" or unicodedata.category(c)[0] != "C" else _spelt(c) for c in text)


def _spelt(c: str) -> str:
    """A byte that was not UTF-8 (a lone surrogate), or a code that the terminal would act on."""
    code = ord(c)
    return f"\\x{code & 0xFF:02x}" if code < 0xA0 or 0xDC80 <= code < 0xDD00 else f"\\u{code:04x}"


def _width(text: str) -> int:
    """Columns that a line takes, tabs and wide characters included."""
    column = 0
    for c in text:
        if c == "\t":
            column += _TAB - column % _TAB
        elif not unicodedata.combining(c):
            column += 2 if unicodedata.east_asian_width(c) in "WF" else 1
    return column
