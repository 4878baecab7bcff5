"""Log-probabilities of given tokens, and the most probable tokens: the binding of cgk_logprob and cgk_top.

It reads logits in place, by their address in llama.cpp's memory. Log-probabilities are those of `Sampler`: natural logs
at temperature 1 over the whole vocabulary. kernels/include/cgk.h says exactly what is computed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

from cgcli.core.errors import CgcliError
from cgcli.native.library import CGK_OK, library


@dataclass(frozen=True, slots=True)
class Scored:
    """How expected a token was."""

    logprob: float
    rank: int  # entries before it in the order (greater logit, lower id); 0 is the best
    entropy: float  # of the row's whole distribution, in nats


def logprob(logits: int, n_vocab: int, token: int) -> float:
    """Natural log of the token's probability at temperature 1.

    logits: address of float32 [n_vocab]; token: an id below n_vocab.
    Raises CgcliError if a logit is NaN or all are -inf.
    """
    return logprobs(logits, n_vocab, (token,))[0]


def logprobs(logits: int, n_vocab: int, tokens: Sequence[int]) -> list[float]:
    """`logprob` of one token per row. logits: address of float32 [len(tokens), n_vocab], rows one after the other."""
    found = (ctypes.c_float * len(tokens))()
    _score(logits, n_vocab, tokens, found, None, None)
    return list(found)


def details(logits: int, n_vocab: int, tokens: Sequence[int]) -> list[Scored]:
    """Like `logprobs`, with rank and entropy."""
    found = (ctypes.c_float * len(tokens))()
    ranks = (ctypes.c_uint32 * len(tokens))()
    entropies = (ctypes.c_float * len(tokens))()
    _score(logits, n_vocab, tokens, found, ranks, entropies)
    return list(map(Scored, found, ranks, entropies))


def top(logits: int, n_vocab: int, k: int) -> list[tuple[int, float]]:
    """The k most probable ids of a row with their log-probabilities, in the order (greater logit, lower id).

    logits: address of float32 [n_vocab]; k: 1 to n_vocab, meant to be small. Raises CgcliError like `logprob`.
    """
    ids = (ctypes.c_int32 * k)()
    found = (ctypes.c_float * k)()
    if library().cgk_top(logits, n_vocab, k, ids, found) != CGK_OK:
        raise CgcliError(f"cannot rank {k} tokens: the model's logits are invalid", hint="cgcli models verify")
    return list(zip(ids, found, strict=True))


def _score(
    logits: int,
    n_vocab: int,
    tokens: Sequence[int],
    found: ctypes.Array[ctypes.c_float],
    ranks: ctypes.Array[ctypes.c_uint32] | None,
    entropies: ctypes.Array[ctypes.c_float] | None,
) -> None:
    wanted = (ctypes.c_int32 * len(tokens))(*tokens)
    if library().cgk_logprob(logits, len(tokens), n_vocab, wanted, found, ranks, entropies) != CGK_OK:
        tokens_named = f"token {tokens[0]}" if len(tokens) == 1 else f"one of {len(tokens)} tokens"
        raise CgcliError(f"cannot score {tokens_named}: the model's logits are invalid", hint="cgcli models verify")
