"""The log-probability of a token in a row of logits: the binding of cgk_logprob (kernels/include/cgk.h)."""

from __future__ import annotations

import ctypes

from cgcli.core.errors import CgcliError
from cgcli.native.library import CGK_OK, library


def logprob(logits: int, n_vocab: int, token: int) -> float:
    """log P(token) in nats, at temperature 1 over the whole vocabulary.

    logits: address of float32 [n_vocab], only read. Raises CgcliError where they hold NaN.
    """
    wanted, result = ctypes.c_int32(token), ctypes.c_float()
    status = library().cgk_logprob(logits, 1, n_vocab, ctypes.byref(wanted), ctypes.byref(result), None, None)
    if status != CGK_OK:
        raise CgcliError(f"cgk_logprob refused its logits (status {status})", hint="cgcli models verify")
    return result.value
