"""Which texts are worth training on: the paper's rules, and each text only once.

The rules are those of CodeGen's data (arXiv 2203.13474, appendix on training data): they tell source code from data and
from what a program wrote. It knows texts alone, not where they are from.
"""

from __future__ import annotations

import hashlib

MEAN_LINE = 100  # characters; the mean must be below
LONGEST_LINE = 1000  # characters
DIGITS = 0.9  # share of the characters that are not white space

_WHITE = b" \t\n\r\f\v"
_DIGITS = b"0123456789abcdefABCDEF"


def fault(text: str) -> str | None:
    """Why a text is not trained on; None where it is."""
    lines = text.removesuffix("\n").split("\n")
    visible = text.encode("utf-8").translate(None, _WHITE)
    if not visible:
        return "empty"
    if sum(map(len, lines)) >= MEAN_LINE * len(lines):
        return f"mean line of {MEAN_LINE} characters or more"
    if max(map(len, lines)) > LONGEST_LINE:
        return f"line over {LONGEST_LINE} characters"
    if len(visible) - len(visible.translate(None, _DIGITS)) > DIGITS * len(visible):
        return f"over {DIGITS:.0%} digits"
    return None


class Seen:
    """The texts that came before, by their SHA-256."""

    def __init__(self) -> None:
        self._digests: set[bytes] = set()

    def before(self, text: str) -> bool:
        """Whether this very text came before; from now on it has."""
        digest = hashlib.sha256(text.encode("utf-8")).digest()
        known = digest in self._digests
        self._digests.add(digest)
        return known


def drawn(name: str, seed: int, share: float) -> bool:
    """Whether `name` is among a `share` of all names: by itself and the seed alone, so that it is whichever others come
    and go."""
    digest = hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64
