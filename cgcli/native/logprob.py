"""Log-probabilities of given tokens, and the most probable ones: the binding of cgk_logprob and cgk_top.

It takes logits by their address, where llama.cpp left them, and gives the numbers that `Sampler` gives for its tokens:
natural logs at temperature 1 over the whole vocabulary. kernels/include/cgk.h says exactly what is computed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

from cgcli.core.errors import CgcliError
from cgcli.native.library import CGK_OK, library


@dataclass(frozen=True, slots=True)
class Scored:
    """How expected a token was. rank: how many entries come before it by (greater logit, lower id), 0 is the best;
    entropy: of its row's whole distribution, in nats."""

    logprob: float
    rank: int
    entropy: float


def logprob(logits: int, n_vocab: int, token: int) -> float:
    """Natural log of the token's probability at temperature 1.

    logits: address of float32 [n_vocab]; token: an id below n_vocab.
    Raises CgcliError where a logit is not a number, or all are -inf.
    """
    return logprobs(logits, n_vocab, (token,))[0]


def logprobs(logits: int, n_vocab: int, tokens: Sequence[int]) -> list[float]:
    """`logprob` of one token a row. logits: address of float32 [len(tokens), n_vocab], rows one after the other."""
    found = (ctypes.c_float * len(tokens))()
    _score(logits, n_vocab, tokens, found, None, None)
    return list(found)


def details(logits: int, n_vocab: int, tokens: Sequence[int]) -> list[Scored]:
    """As `logprobs`, with rank and entropy."""
    found = (ctypes.c_float * len(tokens))()
    ranks = (ctypes.c_uint32 * len(tokens))()
    entropies = (ctypes.c_float * len(tokens))()
    _score(logits, n_vocab, tokens, found, ranks, entropies)
    return list(map(Scored, found, ranks, entropies))


def top(logits: int, n_vocab: int, k: int) -> list[tuple[int, float]]:
    """The k most probable ids of a row with their log-probabilities: greater logit first, of equals the lower id.

    logits: address of float32 [n_vocab]; k: 1 to n_vocab, meant to be small. Raises CgcliError as `logprob`.
    """
    ids = (ctypes.c_int32 * k)()
    found = (ctypes.c_float * k)()
    if library().cgk_top(logits, n_vocab, k, ids, found) != CGK_OK:
        raise CgcliError(f"the model's logits have no {k} most probable tokens", hint="cgcli models verify")
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
        raise CgcliError(f"the model's logits give {tokens_named} no probability", hint="cgcli models verify")
