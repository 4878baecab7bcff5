"""Text that cannot drive the terminal which shows it, codes that it would act on spelt out; and how wide text is."""

from __future__ import annotations

import re
import unicodedata

_TAB = 8


def visible(text: str) -> str:
    """`text` with control characters but tabs spelt out; line ends too, so give it one line."""
    return "".join(c if c == "\t" or unicodedata.category(c)[0] != "C" else _spelt(c) for c in text)


def _spelt(c: str) -> str:
    """A byte that was not UTF-8 (a lone surrogate), or a code that the terminal would act on."""
    code = ord(c)
    return f"\\x{code & 0xFF:02x}" if code < 0xA0 or 0xDC80 <= code < 0xDD00 else f"\\u{code:04x}"


def columns(text: str) -> int:
    """Columns that one line of visible text takes, tabs and wide characters included; never less than it takes."""
    column = 0
    for c in text:
        column += _advance(c, column)
    return column


def clipped(text: str, width: int) -> str:
    """`text`, one visible line, with its tabs as blanks, in at most `width` columns: `…` stands for what is cut off."""
    kept: list[str] = []
    column = 0
    for position, c in enumerate(text):
        advance = _advance(c, column)
        if column + advance > width - (position + 1 < len(text)):
            return "".join(kept) + "…" * (width > column)
        kept.append(" " * advance if c == "\t" else c)
        column += advance
    return "".join(kept)


def wrapped(text: str, width: int) -> list[str]:
    """`text`, one line, in lines of at most `width` columns once it is visible: broken at blanks, which go.

    A word that is longer than a line, such as a path, stays whole.
    """
    lines, line = [], ""
    for blanks, word in re.findall(r"( *)([^ ]+)", text):
        if line and columns(visible(line + blanks + word)) > width:
            lines.append(line)
            line = word
        else:
            line += blanks + word
    return [*lines, line]


def _advance(c: str, column: int) -> int:
    if c == "\t":
        return _TAB - column % _TAB
    if unicodedata.combining(c):
        return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1
