"""Token healing: continuing a text that ends in spaces or tabs.

A model has never seen its tokens end inside a run of white space: what GPT-2's tokenizer makes of `:\n    return` is
`:`, `\n␣␣␣`, `␣return`, and after `\n`, `␣␣␣␣` the right word has a probability of about nothing. So the whole run,
the line ends before the blanks included, is taken off the context, and the first tokens drawn must spell it, or go
beyond it. The idea is S. Lundberg's, of the guidance library.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from cgcli.native.sample import Mask

_BLANKS = b" \t"
_LINE_ENDS = b"\r\n"


def split_blanks(text: bytes, *, line_ends: bool = False) -> tuple[bytes, bytes]:
    """The text without the white space at its end, and that; of a text that ends in a line end only with `line_ends`.

    Code that goes on needs that too: a tokenizer may merge a line end with the indentation behind it, and then a model
    has hardly seen one alone before an indented line.
    """
    blank = _BLANKS + _LINE_ENDS * line_ends
    head = text.rstrip(_BLANKS + _LINE_ENDS) if text[-1:] in {bytes([c]) for c in blank} else text
    return head, text[len(head) :]


def healing_mask(owed: bytes, pieces: Sequence[bytes], banned: Mask) -> Mask:
    """uint8 [n_vocab], nonzero where a token may not come next: it neither spells `owed` nor goes beyond it.

    pieces: the bytes of every token, [n_vocab]; banned: ids that are never drawn, uint8 [n_vocab].
    """
    mask: Mask = type(banned)()
    ctypes.memset(mask, 1, len(banned))
    for token, piece in enumerate(pieces):
        if piece and (owed.startswith(piece) or piece.startswith(owed)):
            mask[token] = banned[token]
    return mask


class Healing:
    """What is left to say again of the bytes that were taken off, while tokens are drawn."""

    def __init__(self, owed: bytes) -> None:
        self.owed = owed

    def accept(self, piece: bytes) -> bytes:
        """Take note of a drawn token; returns what it says beyond the owed bytes."""
        if self.owed.startswith(piece):
            self.owed = self.owed[len(piece) :]
            return b""
        said, self.owed = piece[len(self.owed) :], b""
        return said
