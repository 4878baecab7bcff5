"""Between text and tokens: a model's token table, token healing, and the detokenizer that turns draws into text.

Healing continues a text that ends in spaces or tabs. In its training data a model never sees a token boundary inside a
run of white space: GPT-2's tokenizer splits `:\n    return` into `:`, `\n␣␣␣`, `␣return`, and after `\n`, `␣␣␣␣` the
right word has almost no probability. So the engine takes the whole run, with the line ends before the blanks, off the
context, and the first tokens drawn must spell it or extend beyond it. The idea is Scott Lundberg's (the guidance
library).
"""

from __future__ import annotations

import codecs
import ctypes
import functools
from collections.abc import Iterable, Sequence

from cgcli.engine.infill import infill_tokens, plain_tokenizer
from cgcli.engine.model import Model, readable
from cgcli.engine.partial import PartialCompletion
from cgcli.engine.request import Request
from cgcli.native.sample import Mask, Sampled, Sampling

_BLANKS = b" \t"
_LINE_ENDS = b"\r\n"
_CONTROL, _UNUSED = 3, 5  # of llama.h's enum llama_token_type
_USUAL_PIECE = 16  # bytes; few tokens are longer
_MASKS = 64  # cached, of n_vocab bytes each; making one takes milliseconds, and all candidates need the same
_RECENT = 4  # cached texts: a context is counted, scored and drawn from, and 2,000 tokens take 5 ms


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


class TokenTable:
    """The tokens of a model."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.piece = model.piece
        types = model.header.token_types
        padding = types.translate(bytes(kind == _UNUSED for kind in range(256)))
        #: uint8 [n_vocab], nonzero for padding, which is never drawn.
        self.banned: Mask = (ctypes.c_uint8 * model.n_vocab).from_buffer_copy(padding)
        #: Ids that end a text: every control token does.
        self.ends = {token for token, kind in enumerate(types) if kind == _CONTROL}
        if model.end_of_text is not None:
            self.ends.add(model.end_of_text)
        #: None for a model that does not know infilling.
        self.infill = infill_tokens(model)
        if self.infill:
            self.ends |= self.infill.closing
        tokenize = plain_tokenizer(model)
        self._tokenize = functools.lru_cache(_RECENT)(lambda text: tokenize(readable(text)))
        self._healing_masks = functools.lru_cache(_MASKS)(lambda owed: healing_mask(owed, self.pieces, self.banned))
        self._opening = [model.end_of_text or min(self.ends, default=0)]

    @property
    def pieces(self) -> list[bytes]:
        """The bytes of every token: [n_vocab]."""
        return self.model.pieces

    def mask(self, owed: bytes, avoid: Iterable[int] = ()) -> Mask:
        """uint8 [n_vocab], nonzero for tokens that may not come next while the bytes `owed` are to be repeated.

        avoid: further tokens that may not come next, unless they only repeat owed bytes.
        """
        usual = self._healing_masks(owed) if owed else self.banned
        beyond = [token for token in avoid if not owed.startswith(self.piece(token) or b"\0")]
        if not beyond:
            return usual
        mask = type(usual).from_buffer_copy(usual)
        for token in beyond:
            mask[token] = 1
        return mask

    def tokens(self, text: bytes) -> list[int]:
        """The ids of a context. For an empty one, the end of another text: something must predict the first token."""
        return [*self.model.start, *self._tokenize(text)] or self._opening

    def around(self, before: bytes, after: bytes) -> list[int]:
        """The ids of a hole's context, for a model that knows infilling: the texts before and behind it."""
        assert self.infill
        return [*self.model.start, *self.infill.layout(self._tokenize(before), self._tokenize(after))]

    def exceeds(self, text: bytes, tokens: int) -> bool:
        """Whether a text is too long for so many tokens, without tokenizing it."""
        return len(text) > _USUAL_PIECE * tokens and len(text) > max(map(len, self.pieces)) * tokens


class Detokenizer(PartialCompletion):
    """One completion while its tokens become text. room: tokens that the request and the window allow."""

    def __init__(self, request: Request, table: TokenTable, room: int) -> None:
        super().__init__(request)
        self._room = room
        self._table = table
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        _, owed = split_blanks(b"" if request.suffix is not None else request.context, line_ends=request.continues_code)
        self._healing = Healing(owed) if owed else None
        self._first_line = request.first_line  # None once it has ended
        self._begun = False  # whether that line has more than white space

    @property
    def sampling(self) -> Sampling:
        """How the next token is sampled."""
        return self._first_line.sampling if self._first_line else self.request.sampling

    @property
    def mask(self) -> Mask:
        """uint8 [n_vocab], nonzero for tokens that may not come next."""
        avoid = self._first_line.avoid if self._first_line and not self._begun else frozenset()
        return self._table.mask(self._owed, avoid)

    @property
    def free(self) -> bool:
        """Whether later tokens can be drawn before the next one is known: mask and sampling do not depend on it."""
        return not self._owed and self._first_line is None

    @property
    def _owed(self) -> bytes:
        return self._healing.owed if self._healing else b""

    @property
    def left(self) -> int:
        """Tokens that may still be drawn."""
        return self._room - self.drawn

    def accept(self, sampled: Sampled) -> bool:
        """Take the next token; returns whether another one is needed."""
        ended = sampled.token in self._table.ends
        text = None if ended else self._read(self._table.piece(sampled.token))
        self.add(sampled.token, sampled.logprob, text, sampled.alternatives)
        if not self.left:
            self.end("length" if self._room == self.request.max_tokens else "context")
        return self.completion is None

    def _read(self, piece: bytes) -> str:
        """The characters that are complete with these bytes; those that healing repeats are not among them."""
        said = self._healing.accept(piece) if self._healing else piece
        if self._first_line:
            line = said if self._begun else said.lstrip()
            self._begun |= bool(line)
            if b"\n" in line or b"\r" in line:
                self._first_line = None
        return self._utf8.decode(said)
