"""Token healing: continues a text that ends in spaces or tabs.

In its training data a model never sees a token boundary inside a run of white space: GPT-2's tokenizer splits
`:\n    return` into `:`, `\n␣␣␣`, `␣return`, and after `\n`, `␣␣␣␣` the right word has almost no probability. So the
whole run, with the line ends before the blanks, is taken off the context, and the first tokens drawn must spell it or
extend beyond it. The idea is Scott Lundberg's (the guidance library).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from cgcli.native.sample import Mask

_BLANKS = b" \t"
_LINE_ENDS = b"\r\n"


def split_blanks(text: bytes, *, line_ends: bool = False) -> tuple[bytes, bytes]:
    """Split off the white space at the end of a text; if the text ends in a line end, only with `line_ends`.

    Unfinished code needs `line_ends`: a tokenizer may merge a line end with the indentation after it, and then the
    model has hardly seen a lone line end before an indented line.
    """
    blank = _BLANKS + _LINE_ENDS * line_ends
    head = text.rstrip(_BLANKS + _LINE_ENDS) if text[-1:] in {bytes([c]) for c in blank} else text
    return head, text[len(head) :]


def healing_mask(owed: bytes, pieces: Sequence[bytes], banned: Mask) -> Mask:
    """uint8 [n_vocab], nonzero for tokens that may not come next: they neither spell `owed` nor extend beyond it.

    pieces: the bytes of every token, [n_vocab]; banned: ids that are never drawn, uint8 [n_vocab].
    """
    mask: Mask = type(banned)()
    ctypes.memset(mask, 1, len(banned))
    for token, piece in enumerate(pieces):
        if piece and (owed.startswith(piece) or piece.startswith(owed)):
            mask[token] = banned[token]
    return mask


class Healing:
    """Tracks which of the removed bytes the drawn tokens still have to repeat."""

    def __init__(self, owed: bytes) -> None:
        self.owed = owed

    def accept(self, piece: bytes) -> bytes:
        """Take a drawn token; returns its bytes beyond the owed ones."""
        if self.owed.startswith(piece):
            self.owed = self.owed[len(piece) :]
            return b""
        said, self.owed = piece[len(self.owed) :], b""
        return said
