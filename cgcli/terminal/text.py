"""Text for people: amounts with their units, and text that is safe on a terminal, with the columns that it takes.

Bytes have decimal units, as disks are sold; times look like a clock.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

_TAB = 8


def visible(text: str) -> str:
    """`text` with its control characters escaped, except for tabs. Line ends are escaped, too."""
    return "".join(c if c == "\t" or unicodedata.category(c)[0] != "C" else _escape(c) for c in text)


def one_line(text: str) -> str:
    """`text` on one line and visible: names from files and from the network end up in messages."""
    line = " ".join(text.splitlines())
    return line if line.isprintable() else visible(line).replace("\t", "\\x09")


def json_safe(value: Any) -> Any:
    """`value` with None for the numbers that JSON lacks: NaN, and infinity, which a perplexity can be."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {json_safe(key): json_safe(item) for key, item in value.items()}
    return [json_safe(item) for item in value] if isinstance(value, (list, tuple)) else value


def json_text(value: object) -> str:
    """`value` as indented JSON: NaN and infinity as null, unprintable characters as escapes."""
    import json

    text = json.dumps(json_safe(value), indent=2, ensure_ascii=False, allow_nan=False)
    return "".join(c if c == "\n" or c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _escape(c: str) -> str:
    """A control character, or a lone surrogate that stands for a byte that is not UTF-8, as an escape."""
    code = ord(c)
    return f"\\x{code & 0xFF:02x}" if code < 0xA0 or 0xDC80 <= code < 0xDD00 else f"\\u{code:04x}"


def columns(text: str) -> int:
    """The columns of one line of visible text, with tabs and wide characters; never too few."""
    column = 0
    for c in text:
        column += _advance(c, column)
    return column


def clipped(text: str, width: int) -> str:
    """One line of visible text in at most `width` columns: tabs become spaces, and `…` replaces what is cut off."""
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
    """One line broken at spaces into lines of at most `width` columns, measured on visible text.

    A word longer than a line, such as a path, stays whole.
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


def size(count: float) -> str:
    """Bytes in the largest decimal unit that leaves at least 1: 98362432 -> '98.4 MB'."""
    for unit in ("B", "kB", "MB", "GB"):
        # 999.95 would be shown as 1000.0.
        if count < 999.95:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def clock(seconds: float) -> str:
    """Seconds as m:ss, or h:mm:ss from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def plural(count: int, noun: str) -> str:
    """A count with its noun: '1 file', '3,000 lines'."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def compact(number: float) -> str:
    """A large number in three digits: 1234567 -> '1.23 M'."""
    for unit, scale in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}"
    return f"{number:.0f}"
