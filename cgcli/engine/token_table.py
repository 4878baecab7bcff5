"""A model's tokens as the engine needs them: their bytes, those that end a text, those that are never drawn."""

from __future__ import annotations

import ctypes
import functools

from cgcli.engine.healing import healing_mask
from cgcli.engine.model import Model, readable
from cgcli.native.sample import Mask

_CONTROL, _UNUSED = 3, 5  # of llama.h's enum llama_token_type
_USUAL_PIECE = 16  # bytes; few tokens are longer
_MASKS = 64  # cached, of n_vocab bytes each; making one takes milliseconds, and all candidates need the same
_RECENT = 4  # cached texts: a context is counted, scored and drawn from, and 2,000 tokens take 5 ms


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
        self._tokenize = functools.lru_cache(_RECENT)(lambda text: model.tokenize(readable(text)))
        self._healing_masks = functools.lru_cache(_MASKS)(lambda owed: healing_mask(owed, self.pieces, self.banned))
        self._opening = [model.end_of_text or min(self.ends, default=0)]

    @property
    def pieces(self) -> list[bytes]:
        """The bytes of every token: [n_vocab]."""
        return self.model.pieces

    def mask(self, owed: bytes) -> Mask:
        """uint8 [n_vocab], nonzero for tokens that may not come next while the bytes `owed` are to be repeated."""
        return self._healing_masks(owed) if owed else self.banned

    def tokens(self, text: bytes) -> list[int]:
        """The ids of a context. For an empty one, the end of another text: something must predict the first token."""
        return [*self.model.start, *self._tokenize(text)] or self._opening

    def exceeds(self, text: bytes, tokens: int) -> bool:
        """Whether a text is too long for so many tokens, without tokenizing it."""
        return len(text) > _USUAL_PIECE * tokens and len(text) > max(map(len, self.pieces)) * tokens
