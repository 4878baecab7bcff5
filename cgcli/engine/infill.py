"""Infilling: how a model that was trained for it reads the text on both sides of a hole.

Its special tokens go in by id; a text that spells one of them stays text. Sources: the model card of
Salesforce/codegen2-1B, "Infill sampling"; Bavarian et al. 2022, arXiv 2207.14255, the order prefix, suffix, middle.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cgcli.engine.binding import llama
from cgcli.engine.model import Model
from cgcli.engine.request import InfillKind

_MASK, _SEPARATOR, _END_OF_MASK = b"<mask_1>", b"<sep>", b"<eom>"
_CONTROL, _USER_DEFINED = b"\3", b"\4"  # of llama.h's enum llama_token_type
_SPECIAL = re.compile(b"[%b%b]" % (_CONTROL, _USER_DEFINED))


@dataclass(frozen=True)
class InfillTokens:
    """The ids around the text before a hole and the text behind it."""

    kind: InfillKind
    begin: tuple[int, ...]
    between: tuple[int, ...]
    end: tuple[int, ...]
    closing: frozenset[int]  # ids that end what is filled in

    def layout(self, before: Sequence[int], after: Sequence[int]) -> list[int]:
        """The ids of a context. before, after: of the two texts."""
        return [*self.begin, *before, *self.between, *after, *self.end]


def infill_tokens(model: Model) -> InfillTokens | None:
    """The tokens of a model that knows infilling; None for others."""
    named = _special_tokens(model)
    mask, separator, closing = (named.get(text) for text in (_MASK, _SEPARATOR, _END_OF_MASK))
    if mask is not None and separator is not None and closing is not None and model.end_of_text is not None:
        end = (model.end_of_text, separator, mask)
        return InfillTokens("codegen2", (), (mask,), end, frozenset([closing]))
    api, vocab = llama().api, model.vocab
    find = (api.llama_vocab_fim_pre, api.llama_vocab_fim_suf, api.llama_vocab_fim_mid)
    prefix, suffix, middle = (one(vocab) for one in find)
    if min(prefix, suffix, middle) < 0:
        return None
    others = (one(vocab) for one in (api.llama_vocab_fim_pad, api.llama_vocab_fim_rep, api.llama_vocab_fim_sep))
    closes = frozenset(token for token in (prefix, suffix, middle, *others) if token >= 0)
    return InfillTokens("fim", (prefix,), (suffix,), (middle,), closes)


def _special_tokens(model: Model) -> dict[bytes, int]:
    """Ids of the special tokens by their texts. A token of the base vocabulary is none, whatever it spells."""
    api = llama().api
    special = (found.start() for found in _SPECIAL.finditer(model.header.token_types))
    return {api.llama_vocab_get_text(model.vocab, token): token for token in special}


def plain_tokenizer(model: Model) -> Callable[[bytes], list[int]]:
    """`Model.tokenize`, which reads what spells an infill token as text.

    llama.cpp parses no control token, but a file may declare these as user-defined ones, which it does parse.
    """
    types, tokens = model.header.token_types, infill_tokens(model)
    own = {*tokens.layout((), ()), *tokens.closing} if tokens else set()
    spelled = [
        text
        for text, token in _special_tokens(model).items()
        if types[token : token + 1] == _USER_DEFINED and (token in own or text.startswith(b"<mask_"))
    ]
    if not spelled:
        return model.tokenize
    inside = re.compile(b"|".join(b"(?<=%b)(?=%b)" % (re.escape(one[:1]), re.escape(one[1:])) for one in spelled))

    def tokenize(text: bytes) -> list[int]:
        return [token for part in inside.split(text) for token in model.tokenize(part)]

    return tokenize
