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
        self.state = ""  # the lines since the last one that began outside any string
        try:
            lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False) if language else None
            self._lexer: Lexer | None = lexer
        except ClassNotFound:
            self._lexer = None

    def line(self, shown: str) -> str:
        """Highlight the next line of visible text. Earlier lines are lexed with it if both may be in one string."""
        if self._lexer is None:
            return shown
        self.state += shown + "\n"
        last: list[tuple[_TokenType, str]] = []
        for kind, value in self._lexer.get_tokens(self.state):
            for part in re.findall(r"[^\n]*\n|[^\n]+", value):
                if last and last[-1][1].endswith("\n"):
                    last.clear()
                last.append((kind, part))
        if last[-1][0] not in String and last[-1][0] not in Comment.Multiline:
            self.state = ""
        sink = io.StringIO()
        self._formatter.format(((kind, value.rstrip("\n")) for kind, value in last), sink)
        return sink.getvalue().rstrip("\n")


class LiveCode:
    """Writes code to a terminal as it is generated: each piece at once, and each line highlighted when it is complete.

    Pieces appear plain. At the end of a line, when the lexer can tell what it is, the line is overwritten in color.
    A line that was ever too long for the terminal, which may be resized meanwhile, stays plain: overwriting would miss
    its beginning.

    What `preview` shows may change. Then the lines from the first difference on are wiped and written again, if the
    terminal can do that and still shows them. Otherwise they are written once more, below a line that says so.
    """

    def __init__(
        self,
        emit: Callable[[str], None],
        language: str | None,
        width: Callable[[], int] = lambda: shutil.get_terminal_size().columns,
        height: Callable[[], int] = lambda: shutil.get_terminal_size().lines,
    ) -> None:
        """language: as for `Highlighter`; with None, the cursor is never moved.

        width, height: return the terminal's columns and lines; called whenever they matter.
        """
        self._emit = emit
        self._width = width
        self._height = height
        self._wipes = language is not None
        self._narrowest = width()  # the smallest width while the current line was written
        self._highlighter = Highlighter(language)
        self._line = ""  # the current line, visible
        self._shown = ""  # text on the terminal, from the line on in which the preview begins
        self._states = [self._highlighter.state]  # of the highlighter, before each line of it
        self._certain = 0  # characters of it that come before the preview
        self._fixed = 0  # characters of it that cannot be wiped

    def write(self, text: str) -> None:
        """Show `text`, which continues what was written before; control characters are escaped."""
        written = self._shown[: self._certain] + text
        self._show(self._shown if self._shown.startswith(written) else written)
        whole = written.rfind("\n") + 1
        del self._states[: self._shown.count("\n", 0, whole)]
        self._shown = self._shown[whole:]
        self._certain, self._fixed = len(written) - whole, max(0, self._fixed - whole)

    def preview(self, text: str) -> None:
        """Show `text` behind what was written, in place of the last preview."""
        self._show(self._shown[: self._certain] + text)

    def settle(self) -> None:
        """Something else was printed on lines below, so what is shown can no longer be wiped."""
        self._fixed, self._line = len(self._shown), ""

    def _show(self, target: str) -> None:
        differs = (at for at, (old, new) in enumerate(zip(self._shown, target, strict=False)) if old != new)
        same = next(differs, min(len(self._shown), len(target)))
        if same < len(self._shown):
            self._go_back(self._shown.rfind("\n", 0, same) + 1)
        *lines, rest = target[len(self._shown) :].split("\n")
        for line in lines:
            self._emit(self._add(line))
            self._end_line()
        self._emit(self._add(rest))
        self._shown = target

    def _go_back(self, start: int) -> None:
        """Wipe the text from `start`, the beginning of a line, or say that it is written again below."""
        *above, last = (columns(visible(line)) for line in self._shown[start:].split("\n"))
        width = max(1, self._width())
        up = sum(max(1, -(-line // width)) for line in above) + max(0, last - 1) // width
        if self._wipes and start >= self._fixed and up < self._height() - 1:
            self._emit("\r" + f"\x1b[{up}A" * bool(up) + "\x1b[J")
        else:
            self._emit("\n" * bool(self._line) + "… written again:\n")
            self._fixed = start
        number = self._shown.count("\n", 0, start)
        self._highlighter.state = self._states[number]
        del self._states[number + 1 :]
        self._shown, self._line, self._narrowest = self._shown[:start], "", self._width()

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
        self._states.append(self._highlighter.state)
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
