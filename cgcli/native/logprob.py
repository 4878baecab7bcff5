"""The log-probability of a given token: the binding of cgk_logprob (kernels/include/cgk.h).

It takes logits by their address, where llama.cpp left them. The number is the one that `Sampler` gives for its token.
"""

from __future__ import annotations

import ctypes

from cgcli.core.errors import CgcliError
from cgcli.native.library import CGK_OK, library


def logprob(logits: int, n_vocab: int, token: int) -> float:
    """Natural log of the token's probability at temperature 1.

    logits: address of float32 [n_vocab]; token: an id below n_vocab.
    Raises CgcliError where a logit is not a number, or all are -inf.
    """
    found = ctypes.c_float()
    wanted = ctypes.c_int32(token)
    status = library().cgk_logprob(logits, 1, n_vocab, ctypes.byref(wanted), ctypes.byref(found), None, None)
    if status != CGK_OK:
        raise CgcliError(f"the model's logits give token {token} no probability", hint="cgcli models verify")
    return found.value
