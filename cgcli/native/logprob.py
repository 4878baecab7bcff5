"""Log-probabilities of given tokens: the binding of cgk_logprob (kernels/include/cgk.h).

It takes logits by their address, where llama.cpp left them. The numbers are those that `Sampler` gives for its tokens.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from cgcli.core.errors import CgcliError
from cgcli.native.library import CGK_OK, library


def logprobs(logits: int, n_vocab: int, tokens: Sequence[int]) -> list[float]:
    """Natural log of each token's probability at temperature 1.

    logits: address of float32 [len(tokens), n_vocab], a row a token; tokens: ids below n_vocab.
    Raises CgcliError where a logit is not a number, or a row is all -inf.
    """
    rows = len(tokens)
    ids = (ctypes.c_int32 * rows)(*tokens)
    found = (ctypes.c_float * rows)()
    status = library().cgk_logprob(logits, rows, n_vocab, ids, found, None, None)
    if status != CGK_OK:
        raise CgcliError(f"the model's logits cannot be scored (status {status})", hint="cgcli models verify")
    return list(found)
