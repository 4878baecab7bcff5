"""Functions of libcgk, or arguments of them, that the tool does not use: for tests and benchmarks."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from cgcli.core.errors import CgcliError
from cgcli.native.library import CGK_OK, library


def logprob(logits: int, n_vocab: int, token: int) -> float:
    """Natural log of a token's probability at temperature 1. logits: address of float32 [n_vocab].

    Raises CgcliError if a logit is NaN or all are -inf.
    """
    return logprobs(logits, n_vocab, (token,))[0]


def logprobs(logits: int, n_vocab: int, tokens: Sequence[int]) -> list[float]:
    """`logprob` of one token per row. logits: address of float32 [len(tokens), n_vocab], rows one after the other."""
    found = (ctypes.c_float * len(tokens))()
    wanted = (ctypes.c_int32 * len(tokens))(*tokens)
    if library().cgk_logprob(logits, len(tokens), n_vocab, wanted, found, None, None) != CGK_OK:
        raise CgcliError("invalid logits")
    return list(found)
