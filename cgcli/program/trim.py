"""A completion without the white space at its end, while it streams."""

from __future__ import annotations


class TrailingSpace:
    """Holds white space back until something else follows; what is held when the text ends is dropped."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """`text` and what was held before it, without the white space at the end."""
        text = self._held + text
        kept = text.rstrip()
        self._held = text[len(kept) :]
        return kept
