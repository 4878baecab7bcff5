"""Text that cannot drive the terminal which shows it: codes that it would act on are spelt out."""

from __future__ import annotations

import unicodedata


def visible(text: str) -> str:
    """`text` with control characters but tabs spelt out; line ends too, so give it one line."""
    return "".join(c if c == "\t" or unicodedata.category(c)[0] != "C" else _spelt(c) for c in text)


def _spelt(c: str) -> str:
    """A byte that was not UTF-8 (a lone surrogate), or a code that the terminal would act on."""
    code = ord(c)
    return f"\\x{code & 0xFF:02x}" if code < 0xA0 or 0xDC80 <= code < 0xDD00 else f"\\u{code:04x}"
